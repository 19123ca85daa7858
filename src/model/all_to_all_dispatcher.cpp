// SPDX-License-Identifier: MIT
#include "model/all_to_all_dispatcher.h"

#include <algorithm>

namespace moe::model {

AllToAllDispatcher::AllToAllDispatcher(const MoeSpec& spec, DType type, int64_t N, Recompute recompute,
                                       AllToAll& all_to_all, Mode mode, Arena& arena)
    : D_(spec.width),
      E_(spec.experts / all_to_all.ranks()),
      type_(type),
      recompute_(recompute),
      all_to_all_(all_to_all) {
  const int64_t sent = N * spec.top_k, most = all_to_all.ranks() * N * std::min(spec.top_k, E_);
  X_ = all_to_all.max_recv_tokens(sent, most);
  const auto buffer = [&](DType dtype, std::initializer_list<int64_t> shape) {
    return arena.allocate("activations: shared", dtype, shape);
  };
  rows_RD_ = buffer(type, {sent, D_});
  back_XD_ = buffer(type, {X_, D_});
  if (mode == Mode::inference) return;
  weight_R1_ = buffer(DType::f32, {sent, 1});
  weight_X1_ = buffer(DType::f32, {X_, 1});
  dweight_X1_ = buffer(DType::f32, {X_, 1});
}

DispatchedTokens AllToAllDispatcher::make_saved(const DispatchedTokens* first, Arena& arena) const {
  const auto keep = [&](DType dtype, std::initializer_list<int64_t> shape) {
    return arena.allocate("activations: experts", dtype, shape);
  };
  const bool own_tokens = recompute_ == Recompute::none || first == nullptr;
  return {.tokens = {.x_ND = own_tokens ? keep(type_, {X_, D_}) : first->tokens.x_ND,
                     .plan = {.offset_E1 = keep(DType::i32, {E_ + 1}),
                              .slot_R = keep(DType::i32, {X_}),
                              .row_NK = keep(DType::i32, {X_, 1}),
                              .count_E = keep(DType::i32, {E_}),
                              .top1_count_E = keep(DType::i32, {E_})}},
          .expert_X = keep(DType::i32, {X_, 1}),
          .counts = {}};
}

ExpertTokens AllToAllDispatcher::tokens(const DispatchedTokens& saved) const {
  const int64_t rows = saved.counts.total_recv();
  ExpertTokens view = saved.tokens;
  for (Tensor* tensor : {&view.x_ND, &view.plan.slot_R, &view.plan.row_NK}) *tensor = tensor->rows(0, rows);
  return view;
}

void AllToAllDispatcher::dispatch(DispatchedTokens&, const Tensor& x_ND, const RoutePlan& plan, Ops& ops) {
  R_ = plan.slot_R.dim(0);
  all_to_all_.exchange_counts(plan);
  ops.gather_rows(rows(), x_ND, plan);
}

ExpertTokens AllToAllDispatcher::recv(DispatchedTokens& saved, Ops& ops) {
  saved.counts = all_to_all_.recv_counts(saved.expert_X);
  all_to_all_.dispatch(saved.tokens.x_ND, rows(), saved.counts);
  all_to_all_.wait();
  const ExpertTokens here = tokens(saved);
  if (const int64_t X = here.x_ND.dim(0); X > 0) ops.route_plan(here.plan, saved.expert_X.rows(0, X), {});
  return here;
}

void AllToAllDispatcher::combine(DispatchedTokens& saved, const Tensor& rows_XD, Ops& ops) {
  const int64_t X = rows_XD.dim(0);
  if (X > 0)
    ops.combine_rows({.y_ND = back_XD_.rows(0, X),
                      .residual_ND = {},
                      .x_RD = rows_XD,
                      .weight_NK = {},
                      .plan = tokens(saved).plan});
  all_to_all_.combine(rows(), back_XD_, saved.counts);
}

Tensor AllToAllDispatcher::wait_combine() {
  all_to_all_.wait();
  return rows();
}

// A row's gradient and its weight go to its expert. To the operations an assignment is a token with one
// expert then.
void AllToAllDispatcher::dispatch_gradients(DispatchedTokens& saved, const Tensor& d_ND, const Tensor& x_ND,
                                            const RouterSaved& router, Tensor dweight_NK, Ops& ops) {
  const RoutePlan& plan = router.plan;
  R_ = plan.slot_R.dim(0);
  dweight_NK_ = dweight_NK;
  if (recompute_ != Recompute::none) {
    ops.gather_rows(rows(), x_ND, plan);
    all_to_all_.dispatch(saved.tokens.x_ND, rows(), saved.counts);
    all_to_all_.wait();  // rows() is needed again
  }
  ops.gather_rows(rows(), d_ND, plan);
  ops.gather_rows(weights(), router.weight_NK.reshape({R_, 1}), plan);
  all_to_all_.dispatch(back_XD_, rows(), saved.counts);
  all_to_all_.dispatch(weight_X1_, weights(), saved.counts);
}

ExpertGradients AllToAllDispatcher::recv_gradients(DispatchedTokens& saved) {
  all_to_all_.wait();
  const int64_t X = saved.counts.total_recv();
  return {back_XD_.rows(0, X), weight_X1_.rows(0, X), dweight_X1_.rows(0, X)};
}

void AllToAllDispatcher::combine_gradients(DispatchedTokens& saved, const Tensor& rows_XD, Ops& ops) {
  combine(saved, rows_XD, ops);
  all_to_all_.combine(weights(), dweight_X1_, saved.counts);
}

Tensor AllToAllDispatcher::wait_combine_gradients(const RoutePlan& plan, Ops& ops) {
  all_to_all_.wait();
  ops.combine_rows({.y_ND = dweight_NK_.reshape({dweight_NK_.numel(), 1}),
                    .residual_ND = {},
                    .x_RD = weights(),
                    .weight_NK = {},
                    .plan = plan});
  return rows();
}

}  // namespace moe::model
