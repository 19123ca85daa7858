// SPDX-License-Identifier: MIT
#include "model/moe.h"

#include "model/fp8.h"

namespace moe::model {

void MoeWeights::declare(ParameterList& list, const MoeSpec& spec) {
  list.norm(norm, "moe_norm.weight", spec.width);
  list.matrix(router, "moe.router.weight", "router", Role::router, {spec.experts, spec.width});
  if (spec.biased) list.buffer(router_bias, "moe.router.bias", {spec.experts});
  experts.declare(list, spec);
  if (spec.has_shared()) shared.declare(list, spec);
}

MoeSaved::MoeSaved(const MoeSpec& spec, DType type, int64_t N, Recompute recompute, Mode mode,
                   const MoeSaved* first, const TokenDispatcher& dispatcher, Arena& arena)
    : router(spec, N, mode, arena),
      dispatched(dispatcher.make_saved(first == nullptr ? nullptr : &first->dispatched, arena)) {
  const auto keep = [&](DType dtype, std::initializer_list<int64_t> shape) {
    return arena.allocate("activations: experts", dtype, shape);
  };
  const bool own_norm = recompute == Recompute::none || first == nullptr;
  norm_ND = own_norm ? keep(type, {N, spec.width}) : first->norm_ND;
  rstd_N = own_norm ? keep(DType::f32, {N}) : first->rstd_N;
  if (spec.fp8)
    norm8_ND =
        first != nullptr && !first->norm8_ND.empty() ? first->norm8_ND : fp8_rows(N, spec.width, arena);
  const bool own_h = recompute != Recompute::full || first == nullptr;
  h_R2F = own_h ? keep(type, {dispatcher.max_rows(), 2 * spec.inner_width}) : first->h_R2F;
  if (spec.has_shared())
    shared.emplace(spec, type, N, recompute, first == nullptr ? nullptr : &*first->shared, mode, arena);
}

MoeSaved MoeSaved::first(int64_t N) const {
  MoeSaved view = *this;
  view.router = router.first(N);
  view.norm_ND = norm_ND.rows(0, N);
  view.rstd_N = rstd_N.rows(0, N);
  if (shared) view.shared = shared->first(N);
  return view;
}

MoeWorkspace::MoeWorkspace(const MoeSpec& spec, DType type, int64_t N, const TokenDispatcher& dispatcher,
                           Mode mode, Arena& arena)
    : router(spec, N, mode, arena), experts(spec, type, dispatcher.max_rows(), arena) {
  if (spec.has_shared())
    shared.emplace(spec, type, N, mode, arena);
  else if (mode == Mode::training)
    dnorm_ND = arena.allocate("activations: shared", type, {N, spec.width});
  if (!spec.fp8 || dispatcher.is_local()) return;
  recv8_XD = fp8_rows(dispatcher.max_rows(), spec.width, arena);
  recv_gradient8_XD = fp8_rows(dispatcher.max_rows(), spec.width, arena);
}

MoeLayer::MoeLayer(const MoeSpec& spec, Recompute recompute)
    : spec_(spec), recompute_(recompute), router_(spec), experts_(recompute), shared_(recompute) {}

void MoeLayer::norm(MoeSaved& saved, const Tensor& x_ND, const MoeWeights& weights, Ops& ops) const {
  ops.rms_norm_forward({.y_ND = saved.norm_ND,
                        .rstd_N = saved.rstd_N,
                        .x_ND = x_ND,
                        .w_D = weights.norm.weight,
                        .eps = spec_.norm_eps,
                        .y8_ND = saved.norm8_ND});
}

ScaledRows MoeLayer::fp8(const ScaledRows& here, const ScaledRows& recv, const Tensor& x_ND,
                         const TokenDispatcher& dispatcher, Ops& ops) const {
  if (!spec_.fp8) return {};
  if (dispatcher.is_local()) return here;
  ScaledRows rows = recv.rows(0, x_ND.dim(0));
  if (x_ND.dim(0) > 0) ops.quantise_rows(rows, x_ND);
  return rows;
}

void MoeLayer::dispatch(MoeSaved& saved, const Tensor& x_ND, const MoeWeights& weights, const Tokens& tokens,
                        const Capacity& capacity, TokenDispatcher& dispatcher, const MoeWorkspace& scratch,
                        Ops& ops) const {
  norm(saved, x_ND, weights, ops);
  router_.forward(saved.router, saved.norm_ND, weights.router, weights.router_bias.value, tokens.doc_start_N,
                  capacity, scratch.router, ops);
  dispatcher.dispatch(saved.dispatched, saved.norm_ND, saved.router.plan, ops);
  router_.losses(saved.router, tokens, ops);
}

void MoeLayer::experts(Tensor y_ND, MoeSaved& saved, const Tensor& x_ND, const MoeWeights& weights,
                       const DensePlan& plan, TokenDispatcher& dispatcher, const MoeWorkspace& scratch,
                       Ops& ops) const {
  ExpertTokens tokens = dispatcher.recv(saved.dispatched, ops);
  tokens.x8_ND = fp8(saved.norm8_ND, scratch.recv8_XD, tokens.x_ND, dispatcher, ops);
  const Tensor rows_RD = experts_.forward(saved.h_R2F, tokens, weights.experts, scratch.experts, ops);
  dispatcher.combine(saved.dispatched, rows_RD, ops);
  if (saved.shared)  // while the results travel
    shared_.forward(y_ND, *saved.shared, x_ND, saved.norm_ND, weights.shared, plan, *scratch.shared, ops);
}

void MoeLayer::next(Tensor y_ND, MoeSaved& saved, const Tensor& x_ND, const MoeWeights& weights,
                    const Tokens& tokens, const MoeWorkspace& scratch, Ops& ops) const {
  const Tensor logits_NE = Router::logits(saved.router, scratch.router, x_ND.dim(0));
  ops.norm_router_logits({.logits_NE = logits_NE,
                          .norm_ND = saved.norm_ND,
                          .rstd_N = saved.rstd_N,
                          .x_ND = x_ND,
                          .w_D = weights.norm.weight,
                          .w_ED = weights.router.weight,
                          .eps = spec_.norm_eps});
  router_.choose(saved.router, logits_NE, weights.router_bias.value, tokens.doc_start_N, ops);
  if (saved.shared)
    shared_.forward(y_ND, *saved.shared, x_ND, saved.norm_ND, weights.shared, tokens.dense, *scratch.shared,
                    ops);
  experts_.mix(y_ND, saved.h_R2F, saved.shared ? y_ND : x_ND, saved.norm_ND, saved.router.expert_NK,
               saved.router.weight_NK, saved.router.plan, weights.experts, scratch.experts, ops);
}

void MoeLayer::combine(Tensor y_ND, const MoeSaved& saved, const Tensor& x_ND,
                       const RmsNormForward* norm_of_y, TokenDispatcher& dispatcher, Ops& ops) const {
  const CombineRows combine{.y_ND = y_ND,
                            .residual_ND = saved.shared ? y_ND : x_ND,
                            .x_RD = dispatcher.wait_combine(),
                            .weight_NK = saved.router.weight_NK,
                            .plan = saved.router.plan};
  if (norm_of_y == nullptr)
    ops.combine_rows(combine);
  else
    ops.combine_norm_forward({combine, *norm_of_y});
}

void MoeLayer::dispatch_gradients(MoeSaved& saved, const Tensor& d_ND, const Tensor& x_ND,
                                  const MoeWeights& weights, TokenDispatcher& dispatcher,
                                  const MoeWorkspace& scratch, Ops& ops) const {
  if (recompute_ != Recompute::none) norm(saved, x_ND, weights, ops);
  dispatcher.dispatch_gradients(saved.dispatched, d_ND, saved.norm_ND, saved.router,
                                scratch.router.dweight_NK, ops);
}

void MoeLayer::experts_backward(MoeSaved& saved, const Tensor& d_ND, const ScaledRows& d8_ND,
                                const MoeWeights& weights, GradientMode gradients, const DensePlan& plan,
                                TokenDispatcher& dispatcher, const MoeWorkspace& scratch, Ops& ops) const {
  if (saved.shared)  // while the gradients travel
    shared_.backward(*saved.shared, d_ND, saved.norm_ND, weights.shared, gradients, plan, *scratch.shared,
                     ops);
  ExpertGradients to = dispatcher.recv_gradients(saved.dispatched);
  to.dy8_ND = fp8(d8_ND, scratch.recv_gradient8_XD, to.dy_ND, dispatcher, ops);
  ExpertTokens tokens = dispatcher.tokens(saved.dispatched);
  if (recompute_ == Recompute::full)
    tokens.x8_ND = fp8(saved.norm8_ND, scratch.recv8_XD, tokens.x_ND, dispatcher, ops);
  const Tensor rows_RD =
      experts_.backward(saved.h_R2F, tokens, to, weights.experts, gradients, scratch.experts, ops);
  dispatcher.combine_gradients(saved.dispatched, rows_RD, ops);
}

void MoeLayer::combine_gradients(Tensor d_ND, const ScaledRows& d8_ND, const MoeSaved& saved,
                                 const Tensor& x_ND, const MoeWeights& weights, const Tokens& tokens,
                                 const Tensor& scale_1, TokenDispatcher& dispatcher,
                                 const MoeWorkspace& scratch, Ops& ops) const {
  const Tensor rows_RD = dispatcher.wait_combine_gradients(saved.router.plan, ops);
  // The shared expert's and the router's; those of the routed experts are added with the norm's backward.
  const Tensor& dnorm_ND = saved.shared ? saved.shared->dx_ND : scratch.dnorm_ND;
  router_.backward(dnorm_ND, saved.shared.has_value(), saved.router, saved.norm_ND, weights.router, tokens,
                   scale_1, scratch.router, ops);
  ops.combine_norm_backward({.combine = {.y_ND = dnorm_ND,
                                         .residual_ND = dnorm_ND,
                                         .x_RD = rows_RD,
                                         .weight_NK = {},
                                         .plan = saved.router.plan},
                             .norm = {.dx_ND = d_ND,
                                      .dw_D = weights.norm.gradient,
                                      .dy_ND = dnorm_ND,
                                      .residual_ND = d_ND,
                                      .x_ND = x_ND,
                                      .w_D = weights.norm.weight,
                                      .rstd_N = saved.rstd_N,
                                      .dx8_ND = d8_ND}});
}

}  // namespace moe::model
