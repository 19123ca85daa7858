// SPDX-License-Identifier: MIT
#include "model/router.h"

#include <cmath>

#include "base/error.h"

namespace moe::model {

int64_t expert_capacity(const ModelConfig& config, int64_t N) {
  if (config.capacity_factor == 0.0) return Capacity::kNoLimit;
  const auto even_share = static_cast<double>(config.even_share(N));
  const int64_t rows = config.top_k * static_cast<int64_t>(std::floor(config.capacity_factor * even_share));
  CHECK(rows > 0, "ModelConfig::check_capacity refuses this");
  return rows;
}

RouterSaved::RouterSaved(const MoeSpec& spec, int64_t N, Mode mode, Arena& arena) {
  const int64_t E = spec.experts, K = spec.top_k;
  const auto keep = [&](DType dtype, std::initializer_list<int64_t> shape) {
    return arena.allocate("activations: experts", dtype, shape);
  };
  probability_NE = keep(DType::f32, {N, E});
  lse_N = keep(DType::f32, {N});
  expert_NK = keep(DType::i32, {N, K});
  weight_NK = keep(DType::f32, {N, K});
  if (spec.score == RouterScore::sigmoid) logits_NE = keep(DType::f32, {N, E});
  plan = {.offset_E1 = keep(DType::i32, {E + 1}),
          .slot_R = keep(DType::i32, {N * K}),
          .row_NK = keep(DType::i32, {N, K}),
          .count_E = keep(DType::i32, {E}),
          .top1_count_E = keep(DType::i32, {E})};
  if (mode == Mode::inference) return;
  P_E = keep(DType::f32, {E});
  f_E = keep(DType::f32, {E});
  loss_2 = keep(DType::f32, {2});
  if (spec.sequence_weight > 0) sequence_loss_1 = keep(DType::f32, {1});
}

RouterSaved RouterSaved::first(int64_t N) const {
  RouterSaved view = *this;
  for (Tensor* tensor :
       {&view.probability_NE, &view.lse_N, &view.expert_NK, &view.weight_NK, &view.plan.row_NK})
    *tensor = tensor->rows(0, N);
  if (!logits_NE.empty()) view.logits_NE = logits_NE.rows(0, N);
  view.plan.slot_R = plan.slot_R.rows(0, N * expert_NK.dim(1));
  return view;
}

RouterWorkspace::RouterWorkspace(const MoeSpec& spec, int64_t N, Mode mode, Arena& arena)
    : logits_NE(arena.allocate("activations: shared", DType::f32, {N, spec.experts})) {
  if (mode == Mode::training) dweight_NK = arena.allocate("activations: shared", DType::f32, {N, spec.top_k});
}

Router::Router(const MoeSpec& spec) : spec_(spec) {}

void Router::forward(RouterSaved& saved, const Tensor& x_ND, const Parameter& weight_ED, const Tensor& bias_E,
                     const Tensor& doc_start_N, const Capacity& capacity, const RouterWorkspace& scratch,
                     Ops& ops) const {
  const Tensor logits_NE = logits(saved, scratch, x_ND.dim(0));
  ops.router_forward({.logits = {logits_NE, x_ND, weight_ED.weight},
                      .route = choice(saved, logits_NE, bias_E, doc_start_N),
                      .keep_logits = !saved.logits_NE.empty()});
  ops.route_plan(saved.plan, saved.expert_NK, capacity);
}

Tensor Router::logits(const RouterSaved& saved, const RouterWorkspace& scratch, int64_t N) {
  return saved.logits_NE.empty() ? scratch.logits_NE.rows(0, N) : saved.logits_NE;
}

void Router::choose(RouterSaved& saved, const Tensor& logits_NE, const Tensor& bias_E,
                    const Tensor& doc_start_N, Ops& ops) const {
  ops.route(choice(saved, logits_NE, bias_E, doc_start_N));
}

Route Router::choice(const RouterSaved& saved, const Tensor& logits_NE, const Tensor& bias_E,
                     const Tensor& doc_start_N) const {
  return {.probability_NE = saved.probability_NE,
          .lse_N = saved.lse_N,
          .expert_NK = saved.expert_NK,
          .weight_NK = saved.weight_NK,
          .logits_NE = logits_NE,
          .doc_start_N = doc_start_N,
          .rule = spec_.rule(),
          .bias_E = bias_E};
}

void Router::losses(RouterSaved& saved, const Tokens& tokens, Ops& ops) const {
  if (saved.loss_2.empty()) return;
  ops.router_losses({.loss_2 = saved.loss_2,
                     .P_E = saved.P_E,
                     .f_E = saved.f_E,
                     .probability_NE = saved.probability_NE,
                     .lse_N = saved.lse_N,
                     .top1_count_E = saved.plan.top1_count_E,
                     .doc_start_N = tokens.doc_start_N});
  if (!saved.sequence_loss_1.empty())
    ops.sequence_loss({.loss_1 = saved.sequence_loss_1,
                       .probability_NE = saved.probability_NE,
                       .expert_NK = saved.expert_NK,
                       .doc_start_BT = tokens.doc_start_BT});
}

void Router::backward(Tensor dx_ND, bool add, const RouterSaved& saved, const Tensor& x_ND,
                      const Parameter& weight_ED, const Tokens& tokens, const Tensor& scale_1,
                      const RouterWorkspace& scratch, Ops& ops) const {
  const Tensor& dlogits_NE = scratch.logits_NE;
  const Tensor& first_N = spec_.sequence_weight > 0 ? tokens.doc_start_BT : tokens.doc_start_N;
  ops.router_backward({.route = {.dlogits_NE = dlogits_NE,
                                 .dweight_NK = scratch.dweight_NK,
                                 .probability_NE = saved.probability_NE,
                                 .lse_N = saved.lse_N,
                                 .expert_NK = saved.expert_NK,
                                 .weight_NK = saved.weight_NK,
                                 .f_E = saved.f_E,
                                 .doc_start_N = first_N,
                                 .scale_1 = scale_1,
                                 .balance_weight = spec_.balance_weight,
                                 .z_weight = spec_.z_weight,
                                 .rule = spec_.rule(),
                                 .sequence_weight = spec_.sequence_weight,
                                 .logits_NE = saved.logits_NE},
                       .logits = {.dx_ND = dx_ND,
                                  .dw_ED = weight_ED.gradient,
                                  .dlogits_NE = dlogits_NE,
                                  .x_ND = x_ND,
                                  .w_ED = weight_ED.weight,
                                  .add_to_dx = add},
                       .top1_count_E = saved.plan.top1_count_E});
}

}  // namespace moe::model
