// SPDX-License-Identifier: MIT
// The experts' operations on Hopper, each one pass: rows are gathered on their way into the product and the
// activation is applied on the way out. bf16; compiled for sm_90a alone. Operands and formulas as of the
// operations of Ops with these names; sm90_takes() (grouped_matmul_sm90.h) must have taken the tensors.
#pragma once

#include <cuda_runtime.h>

#include "gpu/grouped_matmul_sm90.h"
#include "ops/ops.h"

namespace moe::gpu {

void sm90_expert_up(cudaStream_t stream, int num_sms, Tensor& h_R2F, Tensor& a_RF, const Tensor& x_ND,
                    const Tensor& w_E2FD, const RoutePlan& plan, Schedule schedule);

// partial: memory for a sum of each row and 128 columns of F. D is a multiple of 64.
void sm90_expert_down_backward(cudaStream_t stream, int num_sms, Tensor& dh_R2F, Tensor& a_RF,
                               Tensor& dweight_NK, const Tensor& dy_ND, const Tensor& w_EDF,
                               const Tensor& h_R2F, const Tensor& weight_NK, const RoutePlan& plan,
                               float* partial);
int64_t expert_down_backward_partials(int64_t rows, int64_t f);

// dw = gather(dy)^T a and dw = dh^T gather(x), or dw +=.
void sm90_expert_down_gradient(cudaStream_t stream, int num_sms, Tensor& dw_EDF, const Tensor& dy_ND,
                               const Tensor& a_RF, const RoutePlan& plan, bool accumulate, Schedule schedule);
void sm90_expert_up_gradient(cudaStream_t stream, int num_sms, Tensor& dw_E2FD, const Tensor& dh_R2F,
                             const Tensor& x_ND, const RoutePlan& plan, bool accumulate, Schedule schedule);

}  // namespace moe::gpu
