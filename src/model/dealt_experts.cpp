// SPDX-License-Identifier: MIT
#include "model/dealt_experts.h"

#include <algorithm>

namespace moe {
namespace {

int64_t rows_of(const ModelConfig& config, int64_t N, const ExpertExchange& exchange) {
  const int64_t most = exchange.ranks() * N * std::min(config.top_k, config.num_experts / exchange.ranks());
  return exchange.room(N * config.top_k, most);
}

}  // namespace

DealtSaved::DealtSaved(const ModelConfig& config, DType type, int64_t N, Recompute recompute,
                       const DealtSaved* first, const ExpertExchange& exchange, Arena& arena) {
  const int64_t X = rows_of(config, N, exchange), E = config.num_experts / exchange.ranks();
  const auto keep = [&](DType dtype, std::initializer_list<int64_t> shape) {
    return arena.allocate("activations: experts", dtype, shape);
  };
  expert_X = keep(DType::i32, {X, 1});
  const bool own_rows = recompute == Recompute::none || first == nullptr;
  received_XD = own_rows ? keep(type, {X, config.d_model}) : first->received_XD;
  const bool own_h = recompute != Recompute::all || first == nullptr;
  h_X2F = own_h ? keep(type, {X, 2 * config.expert_intermediate_dim}) : first->h_X2F;
  plan = {.offset_E1 = keep(DType::i32, {E + 1}),
          .slot_R = keep(DType::i32, {X}),
          .row_NK = keep(DType::i32, {X, 1}),
          .count_E = keep(DType::i32, {E}),
          .first_E = keep(DType::i32, {E})};
}

DealtSaved DealtSaved::in_use() const {
  DealtSaved view = *this;
  const int64_t rows = counts.total_received();
  for (Tensor* tensor :
       {&view.expert_X, &view.received_XD, &view.h_X2F, &view.plan.slot_R, &view.plan.row_NK})
    *tensor = tensor->rows(0, rows);
  return view;
}

DealtExperts::DealtExperts(const ModelConfig& config, DType type, int64_t N, Recompute recompute,
                           ExpertExchange& exchange, Arena& arena)
    : exchange_(&exchange), recompute_(recompute) {
  const int64_t X = rows_of(config, N, exchange);
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

DealtExperts::DealtExperts(const DealtExperts& first, ExpertExchange& exchange, Arena& arena)
    : DealtExperts(first) {
  exchange_ = &exchange;
  for (Tensor* tensor : {&back_XD_, &weight_X1_, &dweight_X1_, &weight_R1_})
    *tensor = arena.allocate("activations: shared", *tensor);
}

void DealtExperts::send(Tensor rows_RD, const Tensor& x_ND, const RoutePlan& plan, Ops& ops) const {
  exchange_->tell_counts(plan);
  ops.gather_rows(rows_RD, x_ND, plan);
}

void DealtExperts::experts(Tensor rows_RD, DealtSaved& saved, const Weights::Layer& weights, Ops& ops) const {
  saved.counts = exchange_->counts(saved.expert_X);
  exchange_->to_experts(saved.received_XD, rows_RD, saved.counts);
  exchange_->arrived();
  if (const DealtSaved here = saved.in_use(); here.expert_X.numel() > 0) {
    const int64_t rows = here.expert_X.dim(0);
    const Tensor rows_XD = rows_XD_.rows(0, rows), a_XF = a_XF_.rows(0, rows);
    ops.route_plan(here.plan, here.expert_X, {});
    ops.expert_up(here.h_X2F, a_XF, rows_XD, here.received_XD, weights.gate_up.compute, here.plan);
    ops.grouped_matmul(rows_XD, a_XF, weights.down.compute, here.plan.offset_E1, Form::NT, false);
    ops.combine_rows(back_XD_.rows(0, rows), {}, rows_XD, {}, here.plan);
  }
  exchange_->to_tokens(rows_RD, back_XD_, saved.counts);
}

// A row's gradient and its weight go to its expert. To the operations an assignment is a token with one expert then.
void DealtExperts::backward_send(Tensor rows_RD, DealtSaved& saved, const Tensor& d_ND, const Tensor& x_ND,
                                 const Tensor& weight_NK, const RoutePlan& plan, Ops& ops) const {
  const int64_t R = rows_RD.dim(0);
  if (recompute_ != Recompute::none) {
    ops.gather_rows(rows_RD, x_ND, plan);
    exchange_->to_experts(saved.received_XD, rows_RD, saved.counts);
    exchange_->arrived();  // rows_RD is needed again
  }
  ops.gather_rows(rows_RD, d_ND, plan);
  ops.gather_rows(weight_R1_, weight_NK.reshape({R, 1}), plan);
  exchange_->to_experts(back_XD_, rows_RD, saved.counts);
  exchange_->to_experts(weight_X1_, weight_R1_, saved.counts);
}

void DealtExperts::backward_experts(Tensor rows_RD, DealtSaved& saved, const Weights::Layer& weights,
                                    Gradients gradients, Ops& ops) const {
  const bool add = gradients == Gradients::add;
  const DealtSaved here = saved.in_use();
  const int64_t rows = here.expert_X.dim(0);
  const Tensor rows_XD = rows_XD_.rows(0, rows), a_XF = a_XF_.rows(0, rows);
  const Tensor dy_XD = back_XD_.rows(0, rows), weight_X1 = weight_X1_.rows(0, rows);
  const Tensor dweight_X1 = dweight_X1_.rows(0, rows);
  exchange_->arrived();
  if (rows > 0) {
    if (recompute_ == Recompute::all)
      ops.expert_up(here.h_X2F, a_XF, rows_XD, here.received_XD, weights.gate_up.compute, here.plan);
    ops.expert_down_backward(here.h_X2F, a_XF, dweight_X1, rows_XD, dy_XD, weights.down.compute, here.h_X2F,
                             weight_X1, here.plan);
    ops.expert_down_gradient(weights.down.gradient, rows_XD, dy_XD, a_XF, here.plan, add);
    ops.expert_up_gradient(weights.gate_up.gradient, rows_XD, here.h_X2F, here.received_XD, here.plan, add);
    ops.grouped_matmul(rows_XD, here.h_X2F, weights.gate_up.compute, here.plan.offset_E1, Form::NN, false);
    ops.combine_rows(dy_XD, {}, rows_XD, {}, here.plan);
  } else if (!add) {  // without rows the gradients are still written
    ops.fill(weights.down.gradient, 0);
    ops.fill(weights.gate_up.gradient, 0);
  }
  exchange_->to_tokens(rows_RD, back_XD_, saved.counts);
  exchange_->to_tokens(weight_R1_, dweight_X1_, saved.counts);
}

void DealtExperts::backward_arrived(Tensor dweight_NK, const RoutePlan& plan, Ops& ops) const {
  exchange_->arrived();
  ops.combine_rows(dweight_NK.reshape({dweight_NK.numel(), 1}), {}, weight_R1_, {}, plan);
}

}  // namespace moe
