// SPDX-License-Identifier: MIT
// Grouped products on Hopper's matrix units: bf16 in, f32 sums, bf16 or f32 out. Compiled for sm_90a alone.
#pragma once

#include <cuda_runtime.h>

#include "gpu/numbers.cuh"
#include "ops/ops.h"

namespace moe::gpu {

// Whether the kernel takes these operands (shapes as of Ops::grouped_matmul): bf16, addresses and rows a multiple of 16
// bytes, and for NN an inner dimension that is a multiple of 64.
bool hopper_takes(const Tensor& c, const Tensor& a, const Tensor& b, Form form);

// processors: streaming multiprocessors of the GPU.
void hopper_grouped_matmul(cudaStream_t stream, int processors, Tensor& c, const Tensor& a, const Tensor& b,
                           const Tensor& offset_E1, Form form, bool accumulate);

}  // namespace moe::gpu
