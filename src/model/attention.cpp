// SPDX-License-Identifier: MIT
#include "model/attention.h"

namespace moe {

AttentionSaved::AttentionSaved(const ModelConfig& config, DType type, int64_t N, Recompute recompute,
                               const AttentionSaved* first, Arena& arena) {
  const int64_t D = config.d_model, H = config.n_heads, G = config.n_kv_heads, d = config.head_dim();
  using Member = Tensor AttentionSaved::*;
  const auto place = [&](Member member, Recompute last_kept, DType dtype,
                         std::initializer_list<int64_t> shape) {
    const bool kept = recompute <= last_kept || first == nullptr;
    this->*member = kept ? arena.allocate("activations: attention", dtype, shape) : first->*member;
  };
  const Recompute unless_cheap = Recompute::none, unless_all = Recompute::selective;
  place(&AttentionSaved::norm_ND, unless_cheap, type, {N, D});
  place(&AttentionSaved::rstd_N, unless_cheap, DType::f32, {N});
  place(&AttentionSaved::packed_NP, unless_all, type, {N, Heads{H, G, d}.packed()});
  place(&AttentionSaved::q_NHd, unless_cheap, type, {N, H, d});
  place(&AttentionSaved::k_NGd, unless_cheap, type, {N, G, d});
  place(&AttentionSaved::rstd_NJ, unless_cheap, DType::f32, {N, H + G});
  place(&AttentionSaved::o_NHd, unless_all, type, {N, H, d});
  place(&AttentionSaved::lse_NH, unless_all, DType::f32, {N, H});
}

Attention::Attention(const ModelConfig& config, DType type, int64_t N, Recompute recompute, Arena& arena)
    : heads_{config.n_heads, config.n_kv_heads, config.head_dim()},
      eps_(static_cast<float>(config.norm_eps)),
      recompute_(recompute) {
  const int64_t H = heads_.query, G = heads_.kv, d = heads_.dim;
  const auto shared = [&](std::initializer_list<int64_t> shape) {
    return arena.allocate("activations: shared", type, shape);
  };
  gated_NHd_ = shared({N, H, d});
  dgated_NHd_ = shared({N, H, d});
  dq_NHd_ = shared({N, H, d});
  dk_NGd_ = shared({N, G, d});
  dpacked_NP_ = shared({N, heads_.packed()});
  dnorm_ND_ = shared({N, config.d_model});
  delta_NH_ = arena.allocate("activations: shared", DType::f32, {N, H});
}

void Attention::prepare(AttentionSaved& saved, bool everything, const Tensor& x_ND,
                        const Weights::Layer& weights, const Tokens& tokens, Ops& ops) const {
  ops.rms_norm_forward(saved.norm_ND, saved.rstd_N, x_ND, weights.attention_norm.weight, eps_);
  if (everything) ops.matmul(saved.packed_NP, saved.norm_ND, weights.qkvg.compute, MatmulLayout::NT, false);
  ops.qk_norm_rope_forward(saved.q_NHd, saved.k_NGd, saved.rstd_NJ, saved.packed_NP, weights.q_norm.weight,
                           weights.k_norm.weight, tokens.rope_Td, tokens.position_N, heads_, eps_);
  if (everything)
    ops.attention_forward(gated_NHd_, saved.o_NHd, saved.lse_NH, saved.q_NHd, saved.k_NGd, saved.packed_NP,
                          tokens.doc_start_BT);
}

void Attention::forward(Tensor y_ND, AttentionSaved& saved, const Tensor& x_ND, const Weights::Layer& weights,
                        const Tokens& tokens, Ops& ops) const {
  const int64_t N = x_ND.dim(0), D = x_ND.dim(1);
  prepare(saved, true, x_ND, weights, tokens, ops);
  ops.matmul_add(y_ND, x_ND, gated_NHd_.reshape({N, D}), weights.out.compute);
}

void Attention::backward(Tensor d_ND, AttentionSaved& saved, const Tensor& x_ND,
                         const Weights::Layer& weights, const Tokens& tokens, GradientMode gradients,
                         Ops& ops) const {
  const int64_t N = x_ND.dim(0), D = x_ND.dim(1);
  const bool add = gradients == GradientMode::accumulate;
  if (recompute_ != Recompute::none)
    prepare(saved, recompute_ == Recompute::full, x_ND, weights, tokens, ops);
  ops.matmul(dgated_NHd_.reshape({N, D}), d_ND, weights.out.compute, MatmulLayout::NN, false);
  const Tensor& do_NHd = dgated_NHd_;  // in place
  ops.gate_backward(do_NHd, gated_NHd_, delta_NH_, dpacked_NP_, dgated_NHd_, saved.o_NHd, saved.packed_NP,
                    heads_);
  ops.matmul(weights.out.gradient, d_ND, gated_NHd_.reshape({N, D}), MatmulLayout::TN, add);
  ops.attention_backward(dq_NHd_, dk_NGd_, dpacked_NP_, do_NHd, saved.q_NHd, saved.k_NGd, saved.packed_NP,
                         saved.lse_NH, delta_NH_, tokens.doc_start_BT);
  ops.qk_norm_rope_backward(dpacked_NP_, weights.q_norm.gradient, weights.k_norm.gradient, dq_NHd_, dk_NGd_,
                            saved.packed_NP, weights.q_norm.weight, weights.k_norm.weight, tokens.rope_Td,
                            tokens.position_N, saved.rstd_NJ, heads_);
  ops.matmul(weights.qkvg.gradient, dpacked_NP_, saved.norm_ND, MatmulLayout::TN, add);
  ops.matmul(dnorm_ND_, dpacked_NP_, weights.qkvg.compute, MatmulLayout::NN, false);
  ops.rms_norm_backward(d_ND, weights.attention_norm.gradient, dnorm_ND_, d_ND, x_ND,
                        weights.attention_norm.weight, saved.rstd_N);
}

}  // namespace moe
