// SPDX-License-Identifier: MIT
#include "model/attention.h"

#include "model/fp8.h"

namespace moe::model {

void AttentionWeights::declare(ParameterList& list, const AttentionSpec& spec) {
  const int64_t H = spec.heads.query, d = spec.heads.dim;
  list.norm(norm, "attention_norm.weight", spec.width);
  list.matrix(qkvg, "attention.qkvg.weight", "attention", Role::matrix, {spec.heads.packed(), spec.width});
  const int64_t kv = spec.heads.kv * d;
  if (spec.heads.gated)
    list.consists_of({H * d, H * d, kv, kv}, d);  // q and its gate by turns, then k and v
  else
    list.consists_of({H * d, kv, kv});
  list.read_as_fp8(true, true);
  if (spec.bias) list.bias(bias, "attention.qkvg.bias", spec.heads.packed());
  if (spec.heads.norms() > 0) {
    list.norm(q_norm, "attention.q_norm.weight", spec.heads.query_norm());
    list.norm(k_norm, "attention.k_norm.weight", spec.heads.key_norm());
  }
  list.matrix(out, "attention.out.weight", "attention", Role::matrix, {spec.width, H * d});
  list.consists_of({spec.width});
  list.read_as_fp8(true, true);
  list.writes_to_residual();
}

double attention_flops(const AttentionSpec& spec, int64_t T) {
  const auto width = static_cast<double>(spec.heads.query * spec.heads.dim);
  return 3 * 2 * 2 * width * visible_keys(T, spec.window);  // two products, forward once and backward twice
}

AttentionSaved::AttentionSaved(const AttentionSpec& spec, DType type, int64_t N, Recompute recompute,
                               Mode mode, const AttentionSaved* first, Arena& arena) {
  const int64_t D = spec.width, H = spec.heads.query, G = spec.heads.kv, d = spec.heads.dim;
  using Member = Tensor AttentionSaved::*;
  const auto place = [&](Member member, Recompute last_kept, DType dtype,
                         std::initializer_list<int64_t> shape) {
    const bool kept = recompute <= last_kept || first == nullptr;
    this->*member = kept ? arena.allocate("activations: attention", dtype, shape) : first->*member;
  };
  const Recompute unless_selective = Recompute::none, unless_full = Recompute::selective;
  place(&AttentionSaved::norm_ND, unless_selective, type, {N, D});
  place(&AttentionSaved::rstd_N, unless_selective, DType::f32, {N});
  place(&AttentionSaved::packed_NP, unless_full, type, {N, spec.heads.packed()});
  place(&AttentionSaved::q_NHd, unless_selective, type, {N, H, d});
  place(&AttentionSaved::k_NGd, unless_selective, type, {N, G, d});
  if (spec.heads.norms() > 0)
    place(&AttentionSaved::rstd_NJ, unless_selective, DType::f32, {N, spec.heads.norms()});
  place(&AttentionSaved::y_NHd, unless_full, type, {N, H, d});
  if (mode == Mode::inference) return;
  place(&AttentionSaved::lse_NH, unless_full, DType::f32, {N, H});
}

void AttentionSaved::place_fp8(const AttentionSpec& spec, int64_t N, const AttentionSaved* first,
                               Arena& arena) {
  norm8_ND = first != nullptr ? first->norm8_ND : fp8_rows(N, spec.width, arena);
  y8_NHd = first != nullptr ? first->y8_NHd : fp8_rows(N, spec.heads.query * spec.heads.dim, arena);
}

AttentionSaved AttentionSaved::first(int64_t N) const {
  AttentionSaved view = *this;
  for (Tensor* tensor : {&view.norm_ND, &view.rstd_N, &view.packed_NP, &view.q_NHd, &view.k_NGd,
                         &view.rstd_NJ, &view.y_NHd, &view.lse_NH})
    if (!tensor->empty()) *tensor = tensor->rows(0, N);
  CHECK(norm8_ND.empty(), "generation in FP8");
  return view;
}

AttentionWorkspace::AttentionWorkspace(const AttentionSpec& spec, DType type, int64_t N, Mode mode,
                                       Arena& arena) {
  const int64_t H = spec.heads.query, G = spec.heads.kv, d = spec.heads.dim;
  const auto shared = [&](DType dtype, std::initializer_list<int64_t> shape) {
    return arena.allocate("activations: shared", dtype, shape);
  };
  if (mode == Mode::inference) return;
  dy_NHd = shared(type, {N, H, d});
  dq_NHd = shared(type, {N, H, d});
  dk_NGd = shared(type, {N, G, d});
  dpacked_NP = shared(type, {N, spec.heads.packed()});
  dnorm_ND = shared(type, {N, spec.width});
  delta_NH = shared(DType::f32, {N, H});
  if (spec.fp8) dpacked8_NP = fp8_rows(N, spec.heads.packed(), arena);
}

Attention::Attention(const AttentionSpec& spec, Recompute recompute) : spec_(spec), recompute_(recompute) {}

RmsNormForward Attention::norm(const AttentionSaved& saved, const Tensor& x_ND,
                               const AttentionWeights& weights) const {
  return {saved.norm_ND, saved.rstd_N, x_ND, weights.norm.weight, spec_.norm_eps, saved.norm8_ND};
}

void Attention::project(AttentionSaved& saved, const AttentionWeights& weights, Ops& ops) const {
  if (spec_.bias) ops.bias_forward({saved.packed_NP, weights.bias.weight});
  if (spec_.fp8)
    return ops.fp8_matmul({.c_MN = saved.packed_NP,
                           .a_MK = saved.norm8_ND,
                           .b_NK = weights.qkvg.fp8.rows,
                           .addend_MN = spec_.bias ? saved.packed_NP : Tensor(),
                           .fast = true});
  ops.matmul(saved.packed_NP, saved.norm_ND, weights.qkvg.compute, MatmulLayout::NT, spec_.bias);
}

void Attention::heads(AttentionSaved& saved, const AttentionWeights& weights, const Tokens& tokens,
                      Ops& ops) const {
  ops.qk_norm_rope_forward({.q_NHd = saved.q_NHd,
                            .k_NGd = saved.k_NGd,
                            .rstd_NJ = saved.rstd_NJ,
                            .packed_NP = saved.packed_NP,
                            .wq_d = weights.q_norm.weight,
                            .wk_d = weights.k_norm.weight,
                            .rope_Td = tokens.rope_Td,
                            .position_N = tokens.position_N,
                            .heads = spec_.heads,
                            .eps = spec_.qk_norm_eps});
}

void Attention::attend(AttentionSaved& saved, const Tokens& tokens, Ops& ops) const {
  ops.attention_forward({.y_NHd = saved.y_NHd,
                         .lse_NH = saved.lse_NH,
                         .q_NHd = saved.q_NHd,
                         .k_NGd = saved.k_NGd,
                         .packed_NP = saved.packed_NP,
                         .doc_start_BT = tokens.doc_start_BT,
                         .heads = spec_.heads,
                         .window = spec_.window});
}

void Attention::attend(AttentionSaved& saved, const KeyValueCache& cache, Ops& ops) const {
  ops.attention_cached({.y_NHd = saved.y_NHd,
                        .k_cache_BSGd = cache.k_BSGd,
                        .v_cache_BSGd = cache.v_BSGd,
                        .q_NHd = saved.q_NHd,
                        .k_NGd = saved.k_NGd,
                        .packed_NP = saved.packed_NP,
                        .start_B = cache.start_B,
                        .heads = spec_.heads,
                        .window = spec_.window});
}

void Attention::forward(Tensor y_ND, AttentionSaved& saved, const Tensor& x_ND,
                        const AttentionWeights& weights, const Tokens& tokens, const KeyValueCache* cache,
                        Ops& ops) const {
  project(saved, weights, ops);
  heads(saved, weights, tokens, ops);
  if (cache == nullptr)
    attend(saved, tokens, ops);
  else
    attend(saved, *cache, ops);
  const int64_t Hd = spec_.heads.query * spec_.heads.dim;
  const Tensor mixed_NHd = saved.y_NHd.reshape({x_ND.dim(0), Hd});
  if (!spec_.fp8) return ops.matmul_add(y_ND, x_ND, mixed_NHd, weights.out.compute);
  ops.quantise_rows(saved.y8_NHd, mixed_NHd);
  ops.fp8_matmul(
      {.c_MN = y_ND, .a_MK = saved.y8_NHd, .b_NK = weights.out.fp8.rows, .addend_MN = x_ND, .fast = true});
}

void Attention::next(Tensor y_ND, AttentionSaved& saved, const Tensor& x_ND, const AttentionWeights& weights,
                     const Tokens& tokens, const KeyValueCache& cache, Ops& ops) const {
  const int64_t N = x_ND.dim(0), Hd = spec_.heads.query * spec_.heads.dim;
  ops.norm_matmul({.c_MN = saved.packed_NP,
                   .norm_MK = saved.norm_ND,
                   .rstd_M = saved.rstd_N,
                   .x_MK = x_ND,
                   .w_K = weights.norm.weight,
                   .b_NK = weights.qkvg.compute,
                   .eps = spec_.norm_eps,
                   .bias_N = weights.bias.weight});
  ops.attention_step({.y_NHd = saved.y_NHd,
                      .k_cache_BSGd = cache.k_BSGd,
                      .v_cache_BSGd = cache.v_BSGd,
                      .q_NHd = saved.q_NHd,
                      .k_NGd = saved.k_NGd,
                      .rstd_NJ = saved.rstd_NJ,
                      .packed_NP = saved.packed_NP,
                      .wq_d = weights.q_norm.weight,
                      .wk_d = weights.k_norm.weight,
                      .rope_Td = tokens.rope_Td,
                      .position_N = tokens.position_N,
                      .heads = spec_.heads,
                      .eps = spec_.qk_norm_eps,
                      .window = spec_.window});
  ops.matmul_add(y_ND, x_ND, saved.y_NHd.reshape({N, Hd}), weights.out.compute);
}

void Attention::forward_again(AttentionSaved& saved, const Tensor& x_ND, const AttentionWeights& weights,
                              const Tokens& tokens, Ops& ops) const {
  const bool full = recompute_ == Recompute::full;
  ops.rms_norm_forward(norm(saved, x_ND, weights));
  if (full) project(saved, weights, ops);
  heads(saved, weights, tokens, ops);
  if (full) attend(saved, tokens, ops);
}

void Attention::backward(Tensor d_ND, const ScaledRows& d8_ND, AttentionSaved& saved, const Tensor& x_ND,
                         const AttentionWeights& weights, const Tokens& tokens, GradientMode gradients,
                         const AttentionWorkspace& scratch, Ops& ops) const {
  const int64_t N = x_ND.dim(0), Hd = spec_.heads.query * spec_.heads.dim;
  const bool add = gradients == GradientMode::accumulate;
  if (recompute_ != Recompute::none) forward_again(saved, x_ND, weights, tokens, ops);
  if (spec_.fp8)
    ops.fp8_matmul({.c_MN = scratch.dy_NHd.reshape({N, Hd}), .a_MK = d8_ND, .b_NK = weights.out.fp8.columns});
  else
    ops.matmul(scratch.dy_NHd.reshape({N, Hd}), d_ND, weights.out.compute, MatmulLayout::NN, false);
  const Tensor& do_NHd = scratch.dy_NHd;  // in place
  ops.gate_backward({.do_NHd = do_NHd,
                     .delta_NH = scratch.delta_NH,
                     .dpacked_NP = scratch.dpacked_NP,
                     .dy_NHd = scratch.dy_NHd,
                     .y_NHd = saved.y_NHd,
                     .packed_NP = saved.packed_NP,
                     .heads = spec_.heads});
  ops.matmul(weights.out.gradient, d_ND, saved.y_NHd.reshape({N, Hd}), MatmulLayout::TN, add);
  ops.attention_backward({.dq_NHd = scratch.dq_NHd,
                          .dk_NGd = scratch.dk_NGd,
                          .dpacked_NP = scratch.dpacked_NP,
                          .do_NHd = do_NHd,
                          .q_NHd = saved.q_NHd,
                          .k_NGd = saved.k_NGd,
                          .packed_NP = saved.packed_NP,
                          .lse_NH = saved.lse_NH,
                          .delta_NH = scratch.delta_NH,
                          .doc_start_BT = tokens.doc_start_BT,
                          .heads = spec_.heads,
                          .window = spec_.window});
  ops.qk_norm_rope_backward({.dpacked_NP = scratch.dpacked_NP,
                             .dwq_d = weights.q_norm.gradient,
                             .dwk_d = weights.k_norm.gradient,
                             .dq_NHd = scratch.dq_NHd,
                             .dk_NGd = scratch.dk_NGd,
                             .packed_NP = saved.packed_NP,
                             .wq_d = weights.q_norm.weight,
                             .wk_d = weights.k_norm.weight,
                             .rope_Td = tokens.rope_Td,
                             .position_N = tokens.position_N,
                             .rstd_NJ = saved.rstd_NJ,
                             .heads = spec_.heads});
  if (spec_.bias) ops.bias_backward({weights.bias.gradient, scratch.dpacked_NP});
  ops.matmul(weights.qkvg.gradient, scratch.dpacked_NP, saved.norm_ND, MatmulLayout::TN, add);
  if (spec_.fp8) {
    ops.quantise_rows(scratch.dpacked8_NP, scratch.dpacked_NP);
    ops.fp8_matmul({.c_MN = scratch.dnorm_ND, .a_MK = scratch.dpacked8_NP, .b_NK = weights.qkvg.fp8.columns});
  } else {
    ops.matmul(scratch.dnorm_ND, scratch.dpacked_NP, weights.qkvg.compute, MatmulLayout::NN, false);
  }
  ops.rms_norm_backward({.dx_ND = d_ND,
                         .dw_D = weights.norm.gradient,
                         .dy_ND = scratch.dnorm_ND,
                         .residual_ND = d_ND,
                         .x_ND = x_ND,
                         .w_D = weights.norm.weight,
                         .rstd_N = saved.rstd_N,
                         .dx8_ND = d8_ND});
}

}  // namespace moe::model
