// SPDX-License-Identifier: MIT
// Shapes, types and costs of the experts' FP8 products, and what they are with widened operands.
#include "ops/fp8_experts.h"

#include "ops/cost.h"
#include "ops/expect.h"
#include "ops/ops.h"

namespace moe {
namespace {

// Of rows by token, and a matrix [rows, D] of each expert.
void check_operands(const ScaledRows& tokens, const ScaledRows& weights, int64_t rows,
                    const RoutePlan& plan) {
  tokens.check("fp8 expert: tokens");
  weights.check("fp8 expert: weights");
  CHECK(tokens.value.rank() == 2, tokens.value.describe());
  const int64_t n = tokens.value.dim(0), d = tokens.value.dim(1), assignments = plan.row_NK.numel();
  expect(tokens.value, "fp8 expert: tokens", DType::e4m3, {n, d});
  expect(weights.value, "fp8 expert: weights", DType::e4m3, {plan.count_E.dim(0), rows, d});
  CHECK(n == 0 ? assignments == 0 : assignments % n == 0, "fp8 expert: not the plan's tokens");
}

}  // namespace

void Fp8ExpertUp::check() const {
  SwigluForward{a_RF, h_R2F, plan}.check();
  expect(a_RF, "fp8_expert_up: a", DType::bf16, {a_RF.dim(0), a_RF.dim(1)});
  check_operands(x_ND, w_E2FD, h_R2F.dim(1), plan);
}

double Fp8ExpertUp::flops() const {
  return product_flops(h_R2F.dim(0), h_R2F.dim(1), x_ND.value.dim(1));
}

double Fp8ExpertUp::bytes() const {
  return bytes_of({h_R2F, a_RF, x_ND.value, x_ND.scale, w_E2FD.value, w_E2FD.scale});
}

void run_widened(Ops& ops, const Fp8ExpertUp& op, const Tensor& x_ND, const Tensor& w_E2FD,
                 const Tensor& rows_RD) {
  ops.expert_up({op.h_R2F, op.a_RF, rows_RD, x_ND, w_E2FD, op.plan});
}

void Fp8ExpertDownBackward::check() const {
  SwigluBackward{dh_R2F, a_RF, dweight_NK, a_RF, h_R2F, weight_NK, plan}.check();
  expect(a_RF, "fp8_expert_down_backward: a", DType::bf16, {a_RF.dim(0), a_RF.dim(1)});
  check_operands(dy_ND, w_EFD, a_RF.dim(1), plan);
}

double Fp8ExpertDownBackward::flops() const {
  return product_flops(a_RF.dim(0), a_RF.dim(1), dy_ND.value.dim(1));
}

double Fp8ExpertDownBackward::bytes() const {
  return bytes_of(
      {dh_R2F, a_RF, dweight_NK, dy_ND.value, dy_ND.scale, w_EFD.value, w_EFD.scale, h_R2F, weight_NK});
}

void run_widened(Ops& ops, const Fp8ExpertDownBackward& op, const Tensor& dy_ND, const Tensor& w_EFD,
                 const Tensor& rows_RD) {
  const Tensor& da_RF = op.a_RF;
  ops.gather_rows({rows_RD, dy_ND, op.plan});
  ops.grouped_matmul({da_RF, rows_RD, w_EFD, op.plan.offset_E1, MatmulLayout::NT, false});
  ops.swiglu_backward({op.dh_R2F, op.a_RF, op.dweight_NK, da_RF, op.h_R2F, op.weight_NK, op.plan});
}

}  // namespace moe
