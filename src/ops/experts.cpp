// SPDX-License-Identifier: MIT
// The experts' operations made of others: gather, product, activation.
#include "ops/contracts/experts.h"

#include "ops/ops.h"

namespace moe {

void Ops::expert_up(Tensor h_R2F, Tensor a_RF, Tensor rows_RD, const Tensor& x_ND, const Tensor& w_E2FD,
                    const RoutePlan& plan) {
  contracts::check_expert_up(h_R2F, a_RF, rows_RD, x_ND, w_E2FD, plan);
  gather_rows(rows_RD, x_ND, plan);
  grouped_matmul(h_R2F, rows_RD, w_E2FD, plan.offset_E1, MatmulLayout::NT, false);
  swiglu_forward(a_RF, h_R2F, plan);
}

void Ops::expert_down_backward(Tensor dh_R2F, Tensor a_RF, Tensor dweight_NK, Tensor rows_RD,
                               const Tensor& dy_ND, const Tensor& w_EDF, const Tensor& h_R2F,
                               const Tensor& weight_NK, const RoutePlan& plan) {
  contracts::check_expert_down_backward(dh_R2F, a_RF, dweight_NK, rows_RD, dy_ND, w_EDF, h_R2F, weight_NK,
                                        plan);
  const Tensor& da_RF = a_RF;
  gather_rows(rows_RD, dy_ND, plan);
  grouped_matmul(da_RF, rows_RD, w_EDF, plan.offset_E1, MatmulLayout::NN, false);
  swiglu_backward(dh_R2F, a_RF, dweight_NK, da_RF, h_R2F, weight_NK, plan);
}

void Ops::expert_down_gradient(Tensor dw_EDF, Tensor rows_RD, const Tensor& dy_ND, const Tensor& a_RF,
                               const RoutePlan& plan, bool accumulate) {
  contracts::check_expert_gradient(dw_EDF, rows_RD, dy_ND, a_RF, plan);
  gather_rows(rows_RD, dy_ND, plan);
  grouped_matmul(dw_EDF, rows_RD, a_RF, plan.offset_E1, MatmulLayout::TN, accumulate);
}

void Ops::expert_up_gradient(Tensor dw_E2FD, Tensor rows_RD, const Tensor& dh_R2F, const Tensor& x_ND,
                             const RoutePlan& plan, bool accumulate) {
  contracts::check_expert_gradient(dw_E2FD, rows_RD, x_ND, dh_R2F, plan);
  gather_rows(rows_RD, x_ND, plan);
  grouped_matmul(dw_E2FD, dh_R2F, rows_RD, plan.offset_E1, MatmulLayout::TN, accumulate);
}

}  // namespace moe
