// SPDX-License-Identifier: MIT
#include "model/expert_parallel.h"

#include <algorithm>

namespace moe {
namespace {

int64_t rows_of(const ModelConfig& config, int64_t N, const TokenDispatcher& dispatcher) {
  const int64_t most =
      dispatcher.ranks() * N * std::min(config.top_k, config.num_experts / dispatcher.ranks());
  return dispatcher.max_recv_tokens(N * config.top_k, most);
}

}  // namespace

ExpertParallelSaved::ExpertParallelSaved(const ModelConfig& config, DType type, int64_t N,
                                         Recompute recompute, const ExpertParallelSaved* first,
                                         const TokenDispatcher& dispatcher, Arena& arena) {
  const int64_t X = rows_of(config, N, dispatcher), E = config.num_experts / dispatcher.ranks();
  const auto keep = [&](DType dtype, std::initializer_list<int64_t> shape) {
    return arena.allocate("activations: experts", dtype, shape);
  };
  expert_X = keep(DType::i32, {X, 1});
  const bool own_rows = recompute == Recompute::none || first == nullptr;
  recv_XD = own_rows ? keep(type, {X, config.d_model}) : first->recv_XD;
  const bool own_h = recompute != Recompute::full || first == nullptr;
  h_X2F = own_h ? keep(type, {X, 2 * config.expert_intermediate_dim}) : first->h_X2F;
  plan = {.offset_E1 = keep(DType::i32, {E + 1}),
          .slot_R = keep(DType::i32, {X}),
          .row_NK = keep(DType::i32, {X, 1}),
          .count_E = keep(DType::i32, {E}),
          .top1_count_E = keep(DType::i32, {E})};
}

ExpertParallelSaved ExpertParallelSaved::in_use() const {
  ExpertParallelSaved view = *this;
  const int64_t rows = counts.total_recv();
  for (Tensor* tensor : {&view.expert_X, &view.recv_XD, &view.h_X2F, &view.plan.slot_R, &view.plan.row_NK})
    *tensor = tensor->rows(0, rows);
  return view;
}

ExpertParallelExperts::ExpertParallelExperts(const ModelConfig& config, DType type, int64_t N,
                                             Recompute recompute, TokenDispatcher& dispatcher, Arena& arena)
    : dispatcher_(&dispatcher), recompute_(recompute) {
  const int64_t X = rows_of(config, N, dispatcher);
  const auto shared = [&](DType dtype, std::initializer_list<int64_t> shape) {
    return arena.allocate("activations: shared", dtype, shape);
  };
  rows_XD_ = shared(type, {X, config.d_model});
  back_XD_ = shared(type, {X, config.d_model});
  a_XF_ = shared(type, {X, config.expert_intermediate_dim});
  weight_X1_ = shared(DType::f32, {X, 1});
  dweight_X1_ = shared(DType::f32, {X, 1});
  weight_R1_ = shared(DType::f32, {N * config.top_k, 1});
}

ExpertParallelExperts::ExpertParallelExperts(const ExpertParallelExperts& first, TokenDispatcher& dispatcher,
                                             Arena& arena)
    : ExpertParallelExperts(first) {
  dispatcher_ = &dispatcher;
  for (Tensor* tensor : {&back_XD_, &weight_X1_, &dweight_X1_, &weight_R1_})
    *tensor = arena.allocate("activations: shared", *tensor);
}

void ExpertParallelExperts::send(Tensor rows_RD, const Tensor& x_ND, const RoutePlan& plan, Ops& ops) const {
  dispatcher_->exchange_counts(plan);
  ops.gather_rows(rows_RD, x_ND, plan);
}

void ExpertParallelExperts::experts(Tensor rows_RD, ExpertParallelSaved& saved, const Weights::Layer& weights,
                                    Ops& ops) const {
  saved.counts = dispatcher_->recv_counts(saved.expert_X);
  dispatcher_->dispatch(saved.recv_XD, rows_RD, saved.counts);
  dispatcher_->wait();
  if (const ExpertParallelSaved here = saved.in_use(); here.expert_X.numel() > 0) {
    const int64_t rows = here.expert_X.dim(0);
    const Tensor rows_XD = rows_XD_.rows(0, rows), a_XF = a_XF_.rows(0, rows);
    ops.route_plan(here.plan, here.expert_X, {});
    ops.expert_up(here.h_X2F, a_XF, rows_XD, here.recv_XD, weights.gate_up.compute, here.plan);
    ops.grouped_matmul(rows_XD, a_XF, weights.down.compute, here.plan.offset_E1, MatmulLayout::NT, false);
    ops.combine_rows(back_XD_.rows(0, rows), {}, rows_XD, {}, here.plan);
  }
  dispatcher_->combine(rows_RD, back_XD_, saved.counts);
}

// A row's gradient and its weight go to its expert. To the operations an assignment is a token with one
// expert then.
void ExpertParallelExperts::backward_send(Tensor rows_RD, ExpertParallelSaved& saved, const Tensor& d_ND,
                                          const Tensor& x_ND, const Tensor& weight_NK, const RoutePlan& plan,
                                          Ops& ops) const {
  const int64_t R = rows_RD.dim(0);
  if (recompute_ != Recompute::none) {
    ops.gather_rows(rows_RD, x_ND, plan);
    dispatcher_->dispatch(saved.recv_XD, rows_RD, saved.counts);
    dispatcher_->wait();  // rows_RD is needed again
  }
  ops.gather_rows(rows_RD, d_ND, plan);
  ops.gather_rows(weight_R1_, weight_NK.reshape({R, 1}), plan);
  dispatcher_->dispatch(back_XD_, rows_RD, saved.counts);
  dispatcher_->dispatch(weight_X1_, weight_R1_, saved.counts);
}

void ExpertParallelExperts::backward_experts(Tensor rows_RD, ExpertParallelSaved& saved,
                                             const Weights::Layer& weights, GradientMode gradients,
                                             Ops& ops) const {
  const bool add = gradients == GradientMode::accumulate;
  const ExpertParallelSaved here = saved.in_use();
  const int64_t rows = here.expert_X.dim(0);
  const Tensor rows_XD = rows_XD_.rows(0, rows), a_XF = a_XF_.rows(0, rows);
  const Tensor dy_XD = back_XD_.rows(0, rows), weight_X1 = weight_X1_.rows(0, rows);
  const Tensor dweight_X1 = dweight_X1_.rows(0, rows);
  dispatcher_->wait();
  if (rows > 0) {
    if (recompute_ == Recompute::full)
      ops.expert_up(here.h_X2F, a_XF, rows_XD, here.recv_XD, weights.gate_up.compute, here.plan);
    ops.expert_down_backward(here.h_X2F, a_XF, dweight_X1, rows_XD, dy_XD, weights.down.compute, here.h_X2F,
                             weight_X1, here.plan);
    ops.expert_down_gradient(weights.down.gradient, rows_XD, dy_XD, a_XF, here.plan, add);
    ops.expert_up_gradient(weights.gate_up.gradient, rows_XD, here.h_X2F, here.recv_XD, here.plan, add);
    ops.grouped_matmul(rows_XD, here.h_X2F, weights.gate_up.compute, here.plan.offset_E1, MatmulLayout::NN,
                       false);
    ops.combine_rows(dy_XD, {}, rows_XD, {}, here.plan);
  } else if (!add) {  // without rows the gradients are still written
    ops.fill(weights.down.gradient, 0);
    ops.fill(weights.gate_up.gradient, 0);
  }
  dispatcher_->combine(rows_RD, back_XD_, saved.counts);
  dispatcher_->combine(weight_R1_, dweight_X1_, saved.counts);
}

void ExpertParallelExperts::backward_wait(Tensor dweight_NK, const RoutePlan& plan, Ops& ops) const {
  dispatcher_->wait();
  ops.combine_rows(dweight_NK.reshape({dweight_NK.numel(), 1}), {}, weight_R1_, {}, plan);
}

}  // namespace moe
