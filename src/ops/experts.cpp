// SPDX-License-Identifier: MIT
// Shapes, types and costs of the experts' operations, and the bodies of those that are made of others.
#include "ops/experts.h"

#include "ops/cost.h"
#include "ops/expect.h"
#include "ops/ops.h"

namespace moe {
namespace {

// tokens: the operand by token; rows: the other one. Which of them gives dw its rows, GroupedMatmul checks.
void check_gradient(const Tensor& dw, const Tensor& rows_RD, const Tensor& tokens_ND, const Tensor& rows,
                    const RoutePlan& plan) {
  GatherRows{rows_RD, tokens_ND, plan}.check();
  const DType type = expect_activation(rows, "expert gradient: rows", 2);
  expect(rows, "expert gradient: rows", type, {plan.row_NK.numel(), rows.dim(1)});
  expect(tokens_ND, "expert gradient: tokens", type, {tokens_ND.dim(0), tokens_ND.dim(1)});
  CHECK(dw.rank() == 3 && dw.dim(0) == plan.count_E.dim(0), "expert gradient: dw is " + dw.describe());
}

// Of rows [R, width] times a matrix of each expert [width, d].
double rows_flops(const Tensor& rows, int64_t d) {
  return product_flops(rows.dim(0), rows.dim(1), d);
}

}  // namespace

void GatherRows::check() const {
  const DType type = expect_activation(x_ND, "gather_rows: x", 2);
  check_plan(plan, plan.row_NK.numel());
  const int64_t rows = plan.row_NK.numel(), n = x_ND.dim(0);
  CHECK(n == 0 ? rows == 0 : rows % n == 0, "gather_rows: x does not have the plan's tokens");
  expect(y_RD, "gather_rows: y", type, {rows, x_ND.dim(1)});
}

double GatherRows::bytes() const {
  return bytes_of({y_RD, x_ND});
}

void CombineRows::check() const {
  const DType type = expect_activation(y_ND, "combine_rows: y", 2);
  check_plan(plan, plan.row_NK.numel());
  const int64_t rows = plan.row_NK.numel(), n = y_ND.dim(0);
  CHECK(n == 0 ? rows == 0 : rows % n == 0, "combine_rows: y does not have the plan's tokens");
  expect(x_RD, "combine_rows: x", type, {rows, y_ND.dim(1)});
  if (!residual_ND.empty()) expect(residual_ND, "combine_rows: residual", type, {n, y_ND.dim(1)});
  if (!weight_NK.empty()) expect_numel(weight_NK, "combine_rows: weight", DType::f32, rows);
}

double CombineRows::bytes() const {
  return bytes_of({y_ND, residual_ND, x_RD, weight_NK});
}

void SwigluForward::check() const {
  const DType type = expect_activation(a_RF, "swiglu_forward: a", 2);
  expect(h_R2F, "swiglu_forward: h", type, {a_RF.dim(0), 2 * a_RF.dim(1)});
  check_plan(plan, a_RF.dim(0));
}

double SwigluForward::bytes() const {
  return bytes_of({a_RF, h_R2F});
}

void SwigluBackward::check() const {
  const DType type = expect_activation(a_RF, "swiglu_backward: a", 2);
  const int64_t rows = a_RF.dim(0), f = a_RF.dim(1);
  expect(h_R2F, "swiglu_backward: h", type, {rows, 2 * f});
  expect(dh_R2F, "swiglu_backward: dh", type, {rows, 2 * f});
  expect(da_RF, "swiglu_backward: da", type, {rows, f});
  expect_numel(dweight_NK, "swiglu_backward: dweight", DType::f32, rows);
  expect_numel(weight_NK, "swiglu_backward: weight", DType::f32, rows);
  check_plan(plan, rows);
}

double SwigluBackward::bytes() const {
  return bytes_of({dh_R2F, a_RF, dweight_NK, da_RF, h_R2F, weight_NK});
}

void ExpertUp::check() const {
  SwigluForward{a_RF, h_R2F, plan}.check();
  GatherRows{rows_RD, x_ND, plan}.check();
  expect(x_ND, "expert_up: x", a_RF.dtype(), {x_ND.dim(0), x_ND.dim(1)});
  expect(w_E2FD, "expert_up: w", a_RF.dtype(), {plan.count_E.dim(0), h_R2F.dim(1), x_ND.dim(1)});
}

double ExpertUp::flops() const {
  return rows_flops(h_R2F, x_ND.dim(1));
}

double ExpertUp::bytes() const {
  return bytes_of({h_R2F, a_RF, x_ND, w_E2FD});
}

void Ops::expert_up(ExpertUp op) {
  op.check();
  gather_rows({op.rows_RD, op.x_ND, op.plan});
  grouped_matmul({op.h_R2F, op.rows_RD, op.w_E2FD, op.plan.offset_E1, MatmulLayout::NT, false});
  swiglu_forward({op.a_RF, op.h_R2F, op.plan});
}

void ExpertDownBackward::check() const {
  SwigluBackward{dh_R2F, a_RF, dweight_NK, a_RF, h_R2F, weight_NK, plan}.check();
  GatherRows{rows_RD, dy_ND, plan}.check();
  expect(dy_ND, "expert_down_backward: dy", a_RF.dtype(), {dy_ND.dim(0), dy_ND.dim(1)});
  expect(w_EDF, "expert_down_backward: w", a_RF.dtype(), {plan.count_E.dim(0), dy_ND.dim(1), a_RF.dim(1)});
}

double ExpertDownBackward::flops() const {
  return rows_flops(a_RF, dy_ND.dim(1));
}

double ExpertDownBackward::bytes() const {
  return bytes_of({dh_R2F, a_RF, dweight_NK, dy_ND, w_EDF, h_R2F, weight_NK});
}

void Ops::expert_down_backward(ExpertDownBackward op) {
  op.check();
  const Tensor& da_RF = op.a_RF;
  gather_rows({op.rows_RD, op.dy_ND, op.plan});
  grouped_matmul({da_RF, op.rows_RD, op.w_EDF, op.plan.offset_E1, MatmulLayout::NN, false});
  swiglu_backward({op.dh_R2F, op.a_RF, op.dweight_NK, da_RF, op.h_R2F, op.weight_NK, op.plan});
}

void ExpertDownGradient::check() const {
  check_gradient(dw_EDF, rows_RD, dy_ND, a_RF, plan);
  GroupedMatmul{dw_EDF, rows_RD, a_RF, plan.offset_E1, MatmulLayout::TN, accumulate}.check();
}

double ExpertDownGradient::flops() const {
  return rows_flops(a_RF, dy_ND.dim(1));
}

double ExpertDownGradient::bytes() const {
  return bytes_of({dw_EDF, accumulate ? dw_EDF : Tensor(), dy_ND, a_RF});
}

void Ops::expert_down_gradient(ExpertDownGradient op) {
  op.check();
  gather_rows({op.rows_RD, op.dy_ND, op.plan});
  grouped_matmul({op.dw_EDF, op.rows_RD, op.a_RF, op.plan.offset_E1, MatmulLayout::TN, op.accumulate});
}

void ExpertUpGradient::check() const {
  check_gradient(dw_E2FD, rows_RD, x_ND, dh_R2F, plan);
  GroupedMatmul{dw_E2FD, dh_R2F, rows_RD, plan.offset_E1, MatmulLayout::TN, accumulate}.check();
}

double ExpertUpGradient::flops() const {
  return rows_flops(dh_R2F, x_ND.dim(1));
}

double ExpertUpGradient::bytes() const {
  return bytes_of({dw_E2FD, accumulate ? dw_E2FD : Tensor(), dh_R2F, x_ND});
}

void Ops::expert_up_gradient(ExpertUpGradient op) {
  op.check();
  gather_rows({op.rows_RD, op.x_ND, op.plan});
  grouped_matmul({op.dw_E2FD, op.dh_R2F, op.rows_RD, op.plan.offset_E1, MatmulLayout::TN, op.accumulate});
}

}  // namespace moe
