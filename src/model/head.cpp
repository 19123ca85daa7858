// SPDX-License-Identifier: MIT
#include "model/head.h"

#include <algorithm>

#include "model/fp8.h"

namespace moe::model {

HeadWorkspace::HeadWorkspace(const HeadSpec& spec, DType type, int64_t N, int64_t C, Arena& arena) {
  const auto take = [&](DType dtype, std::initializer_list<int64_t> shape) {
    return arena.allocate("activations: head", dtype, shape);
  };
  features_ND = take(type, {N, spec.width});
  rstd_N = take(DType::f32, {N});
  logits_CV = take(type, {C, spec.vocab_size});
  loss_N = take(DType::f32, {N});
  dfeatures_ND = take(type, {N, spec.width});
  if (!spec.fp8) return;
  features8_ND = fp8_rows(N, spec.width, arena);
  dlogits8_CV = fp8_rows(C, spec.vocab_size, arena, DType::e5m2);
}

Head::Head(const HeadSpec& spec, int64_t vocabulary, Mode mode, Arena& arena)
    : spec_(spec), vocabulary_(vocabulary) {
  if (spec.logit_scale == 1) return;
  scaled_norm_D_ = arena.allocate("small", DType::f32, {spec.width});
  if (mode == Mode::training) scaled_gradient_D_ = arena.allocate("small", DType::f32, {spec.width});
}

void Head::features(Tensor features_ND, Tensor rstd_N, const Tensor& x_ND, const HeadWeights& weights,
                    Ops& ops, const ScaledRows& features8_ND) const {
  const bool scaled = !scaled_norm_D_.empty();
  if (scaled) {
    ops.fill(scaled_norm_D_, 0);
    ops.add(scaled_norm_D_, weights.norm.weight, spec_.logit_scale);
  }
  ops.rms_norm_forward({.y_ND = features_ND,
                        .rstd_N = rstd_N,
                        .x_ND = x_ND,
                        .w_D = scaled ? scaled_norm_D_ : weights.norm.weight,
                        .eps = spec_.norm_eps,
                        .y8_ND = features8_ND});
}

void Head::logits(Tensor logits_CV, const Tensor& features_CD, const HeadWeights& weights, Ops& ops) const {
  ops.matmul({.c_MN = logits_CV,
              .a = features_CD,
              .b = weights.matrix.compute,
              .layout = MatmulLayout::NT,
              .role = MatmulRole::head});
}

void Head::losses(Tensor loss_1, const Tensor& x_ND, const Tensor& target_N, const Tensor& loss_scale_1,
                  const HeadWeights& weights, std::optional<GradientMode> gradients,
                  const HeadWorkspace& scratch, Ops& ops) const {
  const int64_t N = x_ND.dim(0), C = scratch.logits_CV.dim(0);
  features(scratch.features_ND, scratch.rstd_N, x_ND, weights, ops, scratch.features8_ND);
  for (int64_t begin = 0; begin < N; begin += C) {
    const int64_t end = std::min(N, begin + C);
    const Tensor features_CD = scratch.features_ND.rows(begin, end);
    const Tensor logits_CV = scratch.logits_CV.rows(0, end - begin);
    const ScaledRows dlogits8_CV =
        spec_.fp8 && gradients ? scratch.dlogits8_CV.rows(0, end - begin) : ScaledRows{};
    if (spec_.fp8)
      ops.fp8_matmul({.c_MN = logits_CV,
                      .a_MK = scratch.features8_ND.rows(begin, end),
                      .b_NK = weights.matrix.fp8.rows,
                      .fast = true,
                      .role = MatmulRole::head});
    else
      logits(logits_CV, features_CD, weights, ops);
    ops.cross_entropy({.loss_N = scratch.loss_N.rows(begin, end),
                       .logits_NV = logits_CV,
                       .target_N = target_N.rows(begin, end),
                       .vocabulary = vocabulary_,
                       .gradient_scale_1 = gradients ? loss_scale_1 : Tensor(),
                       .gradient8_NV = dlogits8_CV});
    if (!gradients) continue;
    const Tensor& dlogits_CV = logits_CV;  // in place
    const Tensor dfeatures_CD = scratch.dfeatures_ND.rows(begin, end);
    if (spec_.fp8)
      ops.fp8_matmul({.c_MN = dfeatures_CD,
                      .a_MK = dlogits8_CV,
                      .b_NK = weights.matrix.fp8.columns,
                      .role = MatmulRole::head});
    else
      ops.matmul({.c_MN = dfeatures_CD,
                  .a = dlogits_CV,
                  .b = weights.matrix.compute,
                  .layout = MatmulLayout::NN,
                  .role = MatmulRole::head});
    ops.matmul({.c_MN = weights.matrix.gradient,
                .a = dlogits_CV,
                .b = features_CD,
                .layout = MatmulLayout::TN,
                .accumulate = begin > 0 || *gradients == GradientMode::accumulate,
                .role = MatmulRole::head});
  }
  ops.sum(loss_1, scratch.loss_N);
}

void Head::forward(Tensor loss_1, const Tensor& x_ND, const Tensor& target_N, const HeadWeights& weights,
                   const HeadWorkspace& scratch, Ops& ops) const {
  losses(loss_1, x_ND, target_N, {}, weights, std::nullopt, scratch, ops);
}

void Head::forward_backward(Tensor d_ND, const ScaledRows& d8_ND, Tensor loss_1, const Tensor& x_ND,
                            const Tensor& target_N, const Tensor& loss_scale_1, const HeadWeights& weights,
                            GradientMode gradients, const HeadWorkspace& scratch, Ops& ops) const {
  losses(loss_1, x_ND, target_N, loss_scale_1, weights, gradients, scratch, ops);
  const bool scaled = !scaled_norm_D_.empty();
  if (scaled) ops.fill(scaled_gradient_D_, 0);
  ops.rms_norm_backward({.dx_ND = d_ND,
                         .dw_D = scaled ? scaled_gradient_D_ : weights.norm.gradient,
                         .dy_ND = scratch.dfeatures_ND,
                         .residual_ND = {},
                         .x_ND = x_ND,
                         .w_D = scaled ? scaled_norm_D_ : weights.norm.weight,
                         .rstd_N = scratch.rstd_N,
                         .dx8_ND = d8_ND});
  if (scaled) ops.add(weights.norm.gradient, scaled_gradient_D_, spec_.logit_scale);
}

}  // namespace moe::model
