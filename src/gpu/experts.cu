// SPDX-License-Identifier: MIT
// The experts' operations: one pass each where the GPU has kernels for it, else what Ops makes of others.
#include "ops/contracts/experts.h"

#include "gpu/experts_sm90.h"
#include "gpu/gpu_ops.h"
#include "gpu/grouped_matmul_sm90.h"
#include "ops/contracts/matmul.h"

namespace moe::gpu {
namespace {

constexpr Schedule kUp = Schedule::cooperative, kGradient = Schedule::cooperative;

}  // namespace

void GpuOps::expert_up(Tensor h_R2F, Tensor a_RF, Tensor rows_RD, const Tensor& x_ND, const Tensor& w_E2FD,
                       const RoutePlan& plan) {
  contracts::check_expert_up(h_R2F, a_RF, rows_RD, x_ND, w_E2FD, plan);
  const bool taken =
      sm90_ && x_ND.dtype() == DType::bf16 && sm90_takes({h_R2F, a_RF, x_ND, w_E2FD}, plan.count_E.numel());
  if (!taken) return Ops::expert_up(h_R2F, a_RF, rows_RD, x_ND, w_E2FD, plan);
  sm90_expert_up(stream_, num_sms_, h_R2F, a_RF, x_ND, w_E2FD, plan, kUp);
}

void GpuOps::expert_down_backward(Tensor dh_R2F, Tensor a_RF, Tensor dweight_NK, Tensor rows_RD,
                                  const Tensor& dy_ND, const Tensor& w_EDF, const Tensor& h_R2F,
                                  const Tensor& weight_NK, const RoutePlan& plan) {
  contracts::check_expert_down_backward(dh_R2F, a_RF, dweight_NK, rows_RD, dy_ND, w_EDF, h_R2F, weight_NK,
                                        plan);
  const bool taken = sm90_ && dy_ND.dtype() == DType::bf16 && dy_ND.dim(1) % 64 == 0 &&
                     sm90_takes({dh_R2F, a_RF, dy_ND, w_EDF, h_R2F}, plan.count_E.numel());
  if (!taken)
    return Ops::expert_down_backward(dh_R2F, a_RF, dweight_NK, rows_RD, dy_ND, w_EDF, h_R2F, weight_NK, plan);
  float* const partial =
      workspace_.carve().take<float>(expert_down_backward_partials(a_RF.dim(0), a_RF.dim(1)));
  sm90_expert_down_backward(stream_, num_sms_, dh_R2F, a_RF, dweight_NK, dy_ND, w_EDF, h_R2F, weight_NK, plan,
                            partial);
}

void GpuOps::expert_down_gradient(Tensor dw_EDF, Tensor rows_RD, const Tensor& dy_ND, const Tensor& a_RF,
                                  const RoutePlan& plan, bool accumulate) {
  contracts::check_expert_gradient(dw_EDF, rows_RD, dy_ND, a_RF, plan);
  contracts::grouped_matmul(dw_EDF, rows_RD, a_RF, plan.offset_E1, MatmulLayout::TN);
  const bool taken =
      sm90_ && dy_ND.dtype() == DType::bf16 && sm90_takes({dw_EDF, dy_ND, a_RF}, plan.count_E.numel());
  if (!taken) return Ops::expert_down_gradient(dw_EDF, rows_RD, dy_ND, a_RF, plan, accumulate);
  sm90_expert_down_gradient(stream_, num_sms_, dw_EDF, dy_ND, a_RF, plan, accumulate, kGradient);
}

void GpuOps::expert_up_gradient(Tensor dw_E2FD, Tensor rows_RD, const Tensor& dh_R2F, const Tensor& x_ND,
                                const RoutePlan& plan, bool accumulate) {
  contracts::check_expert_gradient(dw_E2FD, rows_RD, x_ND, dh_R2F, plan);
  contracts::grouped_matmul(dw_E2FD, dh_R2F, rows_RD, plan.offset_E1, MatmulLayout::TN);
  const bool taken =
      sm90_ && x_ND.dtype() == DType::bf16 && sm90_takes({dw_E2FD, dh_R2F, x_ND}, plan.count_E.numel());
  if (!taken) return Ops::expert_up_gradient(dw_E2FD, rows_RD, dh_R2F, x_ND, plan, accumulate);
  sm90_expert_up_gradient(stream_, num_sms_, dw_E2FD, dh_R2F, x_ND, plan, accumulate, kGradient);
}

}  // namespace moe::gpu
