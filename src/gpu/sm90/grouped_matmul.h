// SPDX-License-Identifier: MIT
// Grouped products on Hopper's matrix units: bf16 or f16 in, f32 sums, the same type or f32 out. Compiled for
// sm_90a alone.
#pragma once

#include <cuda_runtime.h>

#include <initializer_list>

#include "ops/ops.h"

namespace moe::gpu {

// How the two consumer warpgroups of a block share its tiles. cooperative: each has 64 rows of every tile,
// and both store at the same time; tiles of 256 columns need the fewest bytes for their arithmetic. pingpong:
// each has every second tile, of 128 columns, so that one stores while the other multiplies: where storing
// takes long.
enum class Schedule : uint8_t { cooperative, pingpong };

// Whether the kernels take these tensors: none empty, addresses and rows a multiple of 16 bytes, and not more
// experts than they have room for.
bool sm90_takes(std::initializer_list<Tensor> operands, int64_t experts);
// The same for a grouped product: bf16 or f16, f32 sums of weight gradients (TN) alone, and for NN an inner
// dimension that is a multiple of 64.
bool sm90_takes(const GroupedMatmul& op);

// num_sms: streaming multiprocessors of the GPU.
void sm90_grouped_matmul(cudaStream_t stream, int num_sms, GroupedMatmul op, Schedule schedule);

}  // namespace moe::gpu
