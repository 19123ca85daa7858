// SPDX-License-Identifier: MIT
// Shapes and types of the experts' operations that read rows by token.
#pragma once

#include "ops/contracts/expect.h"
#include "ops/contracts/permute.h"
#include "ops/contracts/swiglu.h"

namespace moe::contracts {

// x has a row for each token, rows one for each routed row of the plan.
inline void check_rows_by_token(const Tensor& rows_RD, const Tensor& x_ND, const RoutePlan& plan) {
  check_gather_rows(rows_RD, x_ND, plan);
}

inline void check_expert_up(const Tensor& h_R2F, const Tensor& a_RF, const Tensor& rows_RD,
                            const Tensor& x_ND, const Tensor& w_E2FD, const RoutePlan& plan) {
  check_swiglu_forward(a_RF, h_R2F, plan);
  check_rows_by_token(rows_RD, x_ND, plan);
  expect(x_ND, "expert_up: x", a_RF.dtype(), {x_ND.dim(0), x_ND.dim(1)});
  expect(w_E2FD, "expert_up: w", a_RF.dtype(), {plan.count_E.dim(0), h_R2F.dim(1), x_ND.dim(1)});
}

inline void check_expert_down_backward(const Tensor& dh_R2F, const Tensor& a_RF, const Tensor& dweight_NK,
                                       const Tensor& rows_RD, const Tensor& dy_ND, const Tensor& w_EDF,
                                       const Tensor& h_R2F, const Tensor& weight_NK, const RoutePlan& plan) {
  check_swiglu_backward(dh_R2F, a_RF, dweight_NK, a_RF, h_R2F, weight_NK, plan);
  check_rows_by_token(rows_RD, dy_ND, plan);
  expect(dy_ND, "expert_down_backward: dy", a_RF.dtype(), {dy_ND.dim(0), dy_ND.dim(1)});
  expect(w_EDF, "expert_down_backward: w", a_RF.dtype(), {plan.count_E.dim(0), dy_ND.dim(1), a_RF.dim(1)});
}

// tokens: the operand by token; rows: the other one. Which of them gives dw its rows, grouped_matmul checks.
inline void check_expert_gradient(const Tensor& dw, const Tensor& rows_RD, const Tensor& tokens_ND,
                                  const Tensor& rows, const RoutePlan& plan) {
  check_rows_by_token(rows_RD, tokens_ND, plan);
  const DType type = expect_activation(rows, "expert gradient: rows", 2);
  expect(rows, "expert gradient: rows", type, {plan.row_NK.numel(), rows.dim(1)});
  expect(tokens_ND, "expert gradient: tokens", type, {tokens_ND.dim(0), tokens_ND.dim(1)});
  CHECK(dw.rank() == 3 && dw.dim(0) == plan.count_E.dim(0), "expert gradient: dw is " + dw.describe());
}

}  // namespace moe::contracts
