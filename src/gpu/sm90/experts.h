// SPDX-License-Identifier: MIT
// The experts' operations on Hopper, each one pass: rows are gathered on their way into the product and the
// activation is applied on the way out. bf16 or f16; compiled for sm_90a alone. Operands and formulas as of
// the operations of Ops with these names; sm90_takes() (grouped_matmul.h) must have taken the tensors.
#pragma once

#include <cuda_runtime.h>

#include "gpu/sm90/grouped_matmul.h"
#include "ops/ops.h"

namespace moe::gpu {

void sm90_expert_up(cudaStream_t stream, int num_sms, ExpertUp op, Schedule schedule);

// partial: memory for a sum of each row and 128 columns of F. D is a multiple of 64.
void sm90_expert_down_backward(cudaStream_t stream, int num_sms, ExpertDownBackward op, float* partial);
int64_t expert_down_backward_partials(int64_t rows, int64_t f);

// dw = gather(dy)^T a and dw = dh^T gather(x), or dw +=.
void sm90_expert_down_gradient(cudaStream_t stream, int num_sms, ExpertDownGradient op, Schedule schedule);
void sm90_expert_up_gradient(cudaStream_t stream, int num_sms, ExpertUpGradient op, Schedule schedule);

}  // namespace moe::gpu
