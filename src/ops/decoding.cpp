// SPDX-License-Identifier: MIT
// Shapes, types and costs of generation's operations, and the bodies of those that are made of others.
#include "ops/decoding.h"

#include "ops/cost.h"
#include "ops/expect.h"
#include "ops/ops.h"

namespace moe {

void NormMatmul::check() const {
  RmsNormForward{norm_MK, rstd_M, x_MK, w_K, eps}.check();
  Matmul{.c_MN = c_MN, .a = norm_MK, .b = b_NK}.check();
  CHECK(c_MN.dtype() == x_MK.dtype(), c_MN.describe() + " and " + x_MK.describe());
  if (!bias_N.empty()) expect(bias_N, "norm_matmul: bias", DType::f32, {c_MN.dim(1)});
}

double NormMatmul::flops() const {
  return product_flops(c_MN.dim(0), c_MN.dim(1), x_MK.dim(1));
}

double NormMatmul::bytes() const {
  return bytes_of({c_MN, x_MK, w_K, b_NK, bias_N});
}

void Ops::norm_matmul(NormMatmul op) {
  op.check();
  rms_norm_forward(op.norm_MK, op.rstd_M, op.x_MK, op.w_K, op.eps);
  if (!op.bias_N.empty()) bias_forward({op.c_MN, op.bias_N});
  matmul(op.c_MN, op.norm_MK, op.b_NK, MatmulLayout::NT, !op.bias_N.empty());
}

QkNormRopeForward AttentionStep::qk_norm_rope() const {
  return {.q_NHd = q_NHd,
          .k_NGd = k_NGd,
          .rstd_NJ = rstd_NJ,
          .packed_NP = packed_NP,
          .wq_d = wq_d,
          .wk_d = wk_d,
          .rope_Td = rope_Td,
          .position_N = position_N,
          .heads = heads,
          .eps = eps};
}

AttentionCached AttentionStep::attention() const {
  return {.y_NHd = y_NHd,
          .k_cache_BSGd = k_cache_BSGd,
          .v_cache_BSGd = v_cache_BSGd,
          .q_NHd = q_NHd,
          .k_NGd = k_NGd,
          .packed_NP = packed_NP,
          .start_B = position_N,
          .heads = heads,
          .window = window};
}

void AttentionStep::check() const {
  qk_norm_rope().check();
  attention().check();
}

double AttentionStep::bytes() const {
  return bytes_of({y_NHd, k_cache_BSGd, v_cache_BSGd, packed_NP});
}

void Ops::attention_step(AttentionStep op) {
  op.check();
  qk_norm_rope_forward(op.qk_norm_rope());
  attention_cached(op.attention());
}

void NormRouterLogits::check() const {
  RmsNormForward{norm_ND, rstd_N, x_ND, w_D, eps}.check();
  RouterLogitsForward{logits_NE, norm_ND, w_ED}.check();
}

double NormRouterLogits::bytes() const {
  return bytes_of({logits_NE, norm_ND, x_ND, w_D, w_ED});
}

void Ops::norm_router_logits(NormRouterLogits op) {
  op.check();
  rms_norm_forward(op.norm_ND, op.rstd_N, op.x_ND, op.w_D, op.eps);
  router_logits_forward(op.logits_NE, op.norm_ND, op.w_ED);
}

void ExpertMixture::check() const {
  MakeRoutePlan{plan, expert_NK, {}}.check();
  ExpertUp{h_R2F, a_RF, rows_RD, x_ND, w_E2FD, plan}.check();
  CombineRows{y_ND, residual_ND, rows_RD, weight_NK, plan}.check();
  expect(w_EDF, "expert_mixture: w", a_RF.dtype(), {w_E2FD.dim(0), x_ND.dim(1), a_RF.dim(1)});
}

double ExpertMixture::flops() const {
  return product_flops(a_RF.dim(0), 3 * a_RF.dim(1), x_ND.dim(1));
}

double ExpertMixture::bytes() const {
  return bytes_of({y_ND, residual_ND, x_ND, w_E2FD, w_EDF});
}

void Ops::expert_mixture(ExpertMixture op) {
  op.check();
  route_plan(op.plan, op.expert_NK, {});
  expert_up({op.h_R2F, op.a_RF, op.rows_RD, op.x_ND, op.w_E2FD, op.plan});
  grouped_matmul(op.rows_RD, op.a_RF, op.w_EDF, op.plan.offset_E1, MatmulLayout::NT, false);
  combine_rows({op.y_ND, op.residual_ND, op.rows_RD, op.weight_NK, op.plan});
}

void Argmax::check() const {
  expect_activation(x_NV, "argmax: x", 2);
  expect(index_N, "argmax: index", DType::i32, {x_NV.dim(0)});
  CHECK(columns >= 1 && columns <= x_NV.dim(1) && except >= -1 && (except != 0 || columns > 1),
        "argmax: columns of " + x_NV.describe());
}

double Argmax::bytes() const {
  return bytes_of({index_N, x_NV});
}

}  // namespace moe
