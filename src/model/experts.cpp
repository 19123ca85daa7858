// SPDX-License-Identifier: MIT
#include "model/experts.h"

namespace moe::model {

void ExpertsWeights::declare(ParameterList& list, const MoeSpec& spec) {
  list.expert_matrices(gate_up, "moe.gate_up.weight", {spec.experts, 2 * spec.inner_width, spec.width});
  list.consists_of({spec.inner_width, spec.inner_width});
  list.read_as_fp8(true, false);
  list.expert_matrices(down, "moe.down.weight", {spec.experts, spec.width, spec.inner_width});
  list.consists_of({spec.width});
  list.read_as_fp8(false, true);
  list.writes_to_residual();
}

ExpertsWorkspace::ExpertsWorkspace(const MoeSpec& spec, DType type, int64_t R, Arena& arena)
    : rows_RD(arena.allocate("activations: shared", type, {R, spec.width})),
      a_RF(arena.allocate("activations: shared", type, {R, spec.inner_width})) {}

void Experts::up(Tensor h_R2F, Tensor a_RF, Tensor rows_RD, const ExpertTokens& tokens,
                 const ExpertsWeights& weights, Ops& ops) {
  if (!tokens.x8_ND.empty())
    return ops.fp8_expert_up({.h_R2F = h_R2F,
                              .a_RF = a_RF,
                              .x_ND = tokens.x8_ND,
                              .w_E2FD = weights.gate_up.fp8.rows,
                              .plan = tokens.plan});
  ops.expert_up({.h_R2F = h_R2F,
                 .a_RF = a_RF,
                 .rows_RD = rows_RD,
                 .x_ND = tokens.x_ND,
                 .w_E2FD = weights.gate_up.compute,
                 .plan = tokens.plan});
}

Tensor Experts::forward(Tensor h_R2F, const ExpertTokens& tokens, const ExpertsWeights& weights,
                        const ExpertsWorkspace& scratch, Ops& ops) const {
  const RoutePlan& plan = tokens.plan;
  const int64_t R = plan.slot_R.dim(0);
  const Tensor rows_RD = scratch.rows_RD.rows(0, R), a_RF = scratch.a_RF.rows(0, R);
  if (R == 0) return rows_RD;
  up(h_R2F.rows(0, R), a_RF, rows_RD, tokens, weights, ops);
  ops.grouped_matmul(rows_RD, a_RF, weights.down.compute, plan.offset_E1, MatmulLayout::NT, false);
  return rows_RD;
}

void Experts::mix(Tensor y_ND, Tensor h_R2F, const Tensor& residual_ND, const Tensor& x_ND,
                  const Tensor& expert_NK, const Tensor& weight_NK, const RoutePlan& plan,
                  const ExpertsWeights& weights, const ExpertsWorkspace& scratch, Ops& ops) const {
  const int64_t R = expert_NK.numel();
  ops.expert_mixture({.y_ND = y_ND,
                      .h_R2F = h_R2F.rows(0, R),
                      .a_RF = scratch.a_RF.rows(0, R),
                      .rows_RD = scratch.rows_RD.rows(0, R),
                      .residual_ND = residual_ND,
                      .x_ND = x_ND,
                      .expert_NK = expert_NK,
                      .weight_NK = weight_NK,
                      .w_E2FD = weights.gate_up.compute,
                      .w_EDF = weights.down.compute,
                      .plan = plan});
}

Tensor Experts::backward(Tensor h_R2F, const ExpertTokens& tokens, const ExpertGradients& to,
                         const ExpertsWeights& weights, GradientMode gradients,
                         const ExpertsWorkspace& scratch, Ops& ops) const {
  const bool add = gradients == GradientMode::accumulate;
  const RoutePlan& plan = tokens.plan;
  const int64_t R = plan.slot_R.dim(0);
  const Tensor rows_RD = scratch.rows_RD.rows(0, R), a_RF = scratch.a_RF.rows(0, R);
  if (R == 0) {  // without rows the gradients are still written
    if (!add) ops.fill(weights.down.gradient, 0);
    if (!add) ops.fill(weights.gate_up.gradient, 0);
    return rows_RD;
  }
  const Tensor h = h_R2F.rows(0, R), dh = h;  // h is not needed after this
  if (recompute_ == Recompute::full) up(h, a_RF, rows_RD, tokens, weights, ops);
  if (!to.dy8_ND.empty())
    ops.fp8_expert_down_backward({.dh_R2F = dh,
                                  .a_RF = a_RF,
                                  .dweight_NK = to.dweight_NK,
                                  .dy_ND = to.dy8_ND,
                                  .w_EFD = weights.down.fp8.columns,
                                  .h_R2F = h,
                                  .weight_NK = to.weight_NK,
                                  .plan = plan});
  else
    ops.expert_down_backward({.dh_R2F = dh,
                              .a_RF = a_RF,
                              .dweight_NK = to.dweight_NK,
                              .rows_RD = rows_RD,
                              .dy_ND = to.dy_ND,
                              .w_EDF = weights.down.compute,
                              .h_R2F = h,
                              .weight_NK = to.weight_NK,
                              .plan = plan});
  ops.expert_down_gradient({.dw_EDF = weights.down.gradient,
                            .rows_RD = rows_RD,
                            .dy_ND = to.dy_ND,
                            .a_RF = a_RF,
                            .plan = plan,
                            .accumulate = add});
  ops.expert_up_gradient({.dw_E2FD = weights.gate_up.gradient,
                          .rows_RD = rows_RD,
                          .dh_R2F = dh,
                          .x_ND = tokens.x_ND,
                          .plan = plan,
                          .accumulate = add});
  ops.grouped_matmul(rows_RD, dh, weights.gate_up.compute, plan.offset_E1, MatmulLayout::NN, false);
  return rows_RD;
}

}  // namespace moe::model
