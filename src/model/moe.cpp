// SPDX-License-Identifier: MIT
#include "model/moe.h"

#include <cmath>

#include "base/error.h"

namespace moe {

int64_t expert_capacity(const ModelConfig& config, int64_t N) {
  if (config.capacity_factor == 0.0) return Capacity::kNoLimit;
  const auto even_share = static_cast<double>(config.even_share(N));
  const int64_t rows = config.top_k * static_cast<int64_t>(std::floor(config.capacity_factor * even_share));
  CHECK(rows > 0, "ModelConfig::check_capacity refuses this");
  return rows;
}

MoeSaved::MoeSaved(const ModelConfig& config, DType type, int64_t N, Recompute recompute,
                   const MoeSaved* first, const TokenDispatcher* dispatcher, Arena& arena) {
  const int64_t D = config.d_model, E = config.num_experts, K = config.top_k, R = N * K;
  const auto keep = [&](DType dtype, std::initializer_list<int64_t> shape) {
    return arena.allocate("activations: experts", dtype, shape);
  };
  const bool own_norm = recompute == Recompute::none || first == nullptr;
  norm_ND = own_norm ? keep(type, {N, D}) : first->norm_ND;
  rstd_N = own_norm ? keep(DType::f32, {N}) : first->rstd_N;
  probability_NE = keep(DType::f32, {N, E});
  lse_N = keep(DType::f32, {N});
  expert_NK = keep(DType::i32, {N, K});
  weight_NK = keep(DType::f32, {N, K});
  P_E = keep(DType::f32, {E});
  f_E = keep(DType::f32, {E});
  loss_2 = keep(DType::f32, {2});
  if (dispatcher != nullptr) {
    expert_parallel = ExpertParallelSaved(
        config, type, N, recompute, first == nullptr ? nullptr : &first->expert_parallel, *dispatcher, arena);
  } else {
    const bool own_h = recompute != Recompute::full || first == nullptr;
    h_R2F = own_h ? keep(type, {R, 2 * config.expert_intermediate_dim}) : first->h_R2F;
  }
  plan = {.offset_E1 = keep(DType::i32, {E + 1}),
          .slot_R = keep(DType::i32, {R}),
          .row_NK = keep(DType::i32, {N, K}),
          .count_E = keep(DType::i32, {E}),
          .top1_count_E = keep(DType::i32, {E})};
}

MoeSaved MoeSaved::first(int64_t N) const {
  MoeSaved view = *this;
  const int64_t R = N * expert_NK.dim(1);
  for (Tensor* tensor : {&view.norm_ND, &view.rstd_N, &view.probability_NE, &view.lse_N, &view.expert_NK,
                         &view.weight_NK, &view.plan.row_NK})
    *tensor = tensor->rows(0, N);
  for (Tensor* tensor : {&view.h_R2F, &view.plan.slot_R})
    if (!tensor->empty()) *tensor = tensor->rows(0, R);
  return view;
}

MoeLayer::MoeLayer(const ModelConfig& config, DType type, int64_t N, Recompute recompute,
                   TokenDispatcher* dispatcher, Arena& arena)
    : eps_(static_cast<float>(config.norm_eps)),
      balance_weight_(static_cast<float>(config.aux_loss_weight)),
      z_weight_(static_cast<float>(config.z_loss_weight)),
      renormalise_(config.renormalize_top_k),
      recompute_(recompute) {
  const int64_t D = config.d_model, F = config.expert_intermediate_dim, K = config.top_k, R = N * K;
  const auto shared = [&](DType dtype, std::initializer_list<int64_t> shape) {
    return arena.allocate("activations: shared", dtype, shape);
  };
  logits_NE_ = shared(DType::f32, {N, config.num_experts});
  dweight_NK_ = shared(DType::f32, {N, K});
  rows_RD_ = shared(type, {R, D});
  if (dispatcher != nullptr)
    expert_parallel_.emplace(config, type, N, recompute, *dispatcher, arena);
  else
    a_RF_ = shared(type, {R, F});
  dnorm_ND_ = shared(type, {N, D});
}

MoeLayer::MoeLayer(const MoeLayer& first, TokenDispatcher& dispatcher, Arena& arena) : MoeLayer(first) {
  CHECK(first.expert_parallel_.has_value(), "nothing travels");
  rows_RD_ = arena.allocate("activations: shared", first.rows_RD_);
  expert_parallel_.emplace(*first.expert_parallel_, dispatcher, arena);
}

void MoeLayer::forward(Tensor y_ND, MoeSaved& saved, const Tensor& x_ND, const Weights::Layer& weights,
                       const Tensor& doc_start_N, const Capacity& capacity, Ops& ops) const {
  route(saved, x_ND, weights, doc_start_N, capacity, ops);
  experts(saved, weights, ops);
  combine(y_ND, saved, x_ND, ops);
}

void MoeLayer::route(MoeSaved& saved, const Tensor& x_ND, const Weights::Layer& weights,
                     const Tensor& doc_start_N, const Capacity& capacity, Ops& ops) const {
  const RoutePlan& plan = saved.plan;
  const Tensor logits_NE = logits_NE_.rows(0, x_ND.dim(0));
  ops.rms_norm_forward(saved.norm_ND, saved.rstd_N, x_ND, weights.moe_norm.weight, eps_);
  ops.router_logits_forward(logits_NE, saved.norm_ND, weights.router.weight);
  ops.route(saved.probability_NE, saved.lse_N, saved.expert_NK, saved.weight_NK, logits_NE, doc_start_N,
            renormalise_);
  ops.route_plan(plan, saved.expert_NK, capacity);
  if (expert_parallel_) expert_parallel_->send(rows_of(saved), saved.norm_ND, plan, ops);
  ops.router_losses(saved.loss_2, saved.P_E, saved.f_E, saved.probability_NE, saved.lse_N, plan.top1_count_E,
                    doc_start_N);
}

void MoeLayer::experts(MoeSaved& saved, const Weights::Layer& weights, Ops& ops) const {
  const Tensor rows_RD = rows_of(saved);
  if (expert_parallel_) return expert_parallel_->experts(rows_RD, saved.expert_parallel, weights, ops);
  const Tensor a_RF = a_RF_.rows(0, rows_RD.dim(0));
  ops.expert_up(saved.h_R2F, a_RF, rows_RD, saved.norm_ND, weights.gate_up.compute, saved.plan);
  ops.grouped_matmul(rows_RD, a_RF, weights.down.compute, saved.plan.offset_E1, MatmulLayout::NT, false);
}

void MoeLayer::combine(Tensor y_ND, const MoeSaved& saved, const Tensor& x_ND, Ops& ops) const {
  if (expert_parallel_) expert_parallel_->wait();
  ops.combine_rows(y_ND, x_ND, rows_of(saved), saved.weight_NK, saved.plan);
}

void MoeLayer::backward(Tensor d_ND, MoeSaved& saved, const Tensor& x_ND, const Weights::Layer& weights,
                        const Tensor& doc_start_N, const Tensor& scale_1, GradientMode gradients,
                        Ops& ops) const {
  backward_send(saved, d_ND, x_ND, weights, ops);
  backward_experts(saved, d_ND, weights, gradients, ops);
  backward_combine(d_ND, saved, x_ND, weights, doc_start_N, scale_1, ops);
}

void MoeLayer::backward_send(MoeSaved& saved, const Tensor& d_ND, const Tensor& x_ND,
                             const Weights::Layer& weights, Ops& ops) const {
  if (recompute_ != Recompute::none)
    ops.rms_norm_forward(saved.norm_ND, saved.rstd_N, x_ND, weights.moe_norm.weight, eps_);
  if (expert_parallel_)
    expert_parallel_->backward_send(rows_RD_, saved.expert_parallel, d_ND, saved.norm_ND, saved.weight_NK,
                                    saved.plan, ops);
}

// rows_RD_ = d(loss)/d(norm) by row.
void MoeLayer::backward_experts(MoeSaved& saved, const Tensor& d_ND, const Weights::Layer& weights,
                                GradientMode gradients, Ops& ops) const {
  if (expert_parallel_)
    return expert_parallel_->backward_experts(rows_RD_, saved.expert_parallel, weights, gradients, ops);
  const bool add = gradients == GradientMode::accumulate;
  const RoutePlan& plan = saved.plan;
  Tensor dh_R2F = saved.h_R2F;  // h is not needed after this
  if (recompute_ == Recompute::full)
    ops.expert_up(saved.h_R2F, a_RF_, rows_RD_, saved.norm_ND, weights.gate_up.compute, plan);
  ops.expert_down_backward(dh_R2F, a_RF_, dweight_NK_, rows_RD_, d_ND, weights.down.compute, saved.h_R2F,
                           saved.weight_NK, plan);
  ops.expert_down_gradient(weights.down.gradient, rows_RD_, d_ND, a_RF_, plan, add);
  ops.expert_up_gradient(weights.gate_up.gradient, rows_RD_, dh_R2F, saved.norm_ND, plan, add);
  ops.grouped_matmul(rows_RD_, dh_R2F, weights.gate_up.compute, plan.offset_E1, MatmulLayout::NN, false);
}

void MoeLayer::backward_combine(Tensor d_ND, const MoeSaved& saved, const Tensor& x_ND,
                                const Weights::Layer& weights, const Tensor& doc_start_N,
                                const Tensor& scale_1, Ops& ops) const {
  if (expert_parallel_) expert_parallel_->backward_wait(dweight_NK_, saved.plan, ops);
  ops.combine_rows(dnorm_ND_, {}, rows_RD_, {}, saved.plan);

  Tensor dlogits_NE = logits_NE_;
  ops.route_backward(dlogits_NE, dweight_NK_, saved.probability_NE, saved.lse_N, saved.expert_NK,
                     saved.weight_NK, saved.f_E, doc_start_N, scale_1, balance_weight_, z_weight_,
                     renormalise_);
  ops.router_logits_backward(dnorm_ND_, weights.router.gradient, dlogits_NE, saved.norm_ND,
                             weights.router.weight);
  ops.rms_norm_backward(d_ND, weights.moe_norm.gradient, dnorm_ND_, d_ND, x_ND, weights.moe_norm.weight,
                        saved.rstd_N);
}

}  // namespace moe
