// SPDX-License-Identifier: MIT
// The experts' operations on Hopper, each one pass: rows are gathered on their way into the product and the
// activation is applied on the way out. bf16 or f16, or FP8; compiled for sm_90a alone. Operands and formulas
// as of the operations of Ops with these names; sm90_takes() (grouped_matmul.h) must have taken the tensors,
// of FP8 the words.
#pragma once

#include <cuda_runtime.h>

#include "gpu/sm90/grouped_matmul.h"
#include "ops/ops.h"

namespace moe::gpu {

// FP8 numbers, whose rows are a multiple of 16, as bf16 of half as many columns: so they are moved.
Tensor sm90_words(const Tensor& fp8);

void sm90_expert_up(cudaStream_t stream, int num_sms, ExpertUp op, Schedule schedule);
// Scales are at addresses that are multiples of 8.
void sm90_fp8_expert_up(cudaStream_t stream, int num_sms, Fp8ExpertUp op, Schedule schedule);

// partial: memory for a sum of each row and 128 columns of F. D is a multiple of 64.
void sm90_expert_down_backward(cudaStream_t stream, int num_sms, ExpertDownBackward op, float* partial);
// D is a multiple of 16; scales as above.
void sm90_fp8_expert_down_backward(cudaStream_t stream, int num_sms, Fp8ExpertDownBackward op,
                                   float* partial);
int64_t expert_down_backward_partials(int64_t rows, int64_t f);

// dw = gather(dy)^T a and dw = dh^T gather(x), or dw +=.
void sm90_expert_down_gradient(cudaStream_t stream, int num_sms, ExpertDownGradient op, Schedule schedule);
void sm90_expert_up_gradient(cudaStream_t stream, int num_sms, ExpertUpGradient op, Schedule schedule);

}  // namespace moe::gpu
