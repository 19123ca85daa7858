// SPDX-License-Identifier: MIT
// Behind the last block:  features = norm(x),  logits = features W^T,  and the cross-entropy of each target.
// W is the embedding, or a matrix of its own. Logits exist for a few tokens at a time. Where they are scaled,
// it is the norm's weight that is: a small tensor, made of the weight in each pass.
#pragma once

#include <optional>

#include "model/modes.h"
#include "model/spec.h"
#include "ops/ops.h"
#include "tensor/arena.h"
#include "tensor/parameter.h"

namespace moe::model {

// Views: the final norm [D], and the matrix of the logits [V, D], which may be the embedding.
struct HeadWeights {
  const Parameter& norm;
  const Parameter& matrix;
};

// Of one pass over N tokens, C logits at a time.
struct HeadWorkspace {
  HeadWorkspace(const HeadSpec& spec, DType type, int64_t N, int64_t C, Arena& arena);
  Tensor features_ND, rstd_N, logits_CV;
  Tensor loss_N;  // f32, 0 where there is no target
  Tensor dfeatures_ND;
  ScaledRows features8_ND, dlogits8_CV;  // in FP8 training
};

class Head {
 public:
  // vocabulary: ids that exist; the columns of the logits past them are padding.
  Head(const HeadSpec& spec, int64_t vocabulary, Mode mode, Arena& arena);

  // features8_ND: the same in FP8, or none.
  void features(Tensor features_ND, Tensor rstd_N, const Tensor& x_ND, const HeadWeights& weights, Ops& ops,
                const ScaledRows& features8_ND = {}) const;
  void logits(Tensor logits_CV, const Tensor& features_CD, const HeadWeights& weights, Ops& ops) const;

  // Fills scratch.features and scratch.loss; loss_1 f64 += the sum of the losses.
  void forward(Tensor loss_1, const Tensor& x_ND, const Tensor& target_N, const HeadWeights& weights,
               const HeadWorkspace& scratch, Ops& ops) const;
  // The same, and d_ND = d(objective)/dx, and in FP8. loss_scale_1 f32: d(objective)/d(sum of the losses).
  void forward_backward(Tensor d_ND, const ScaledRows& d8_ND, Tensor loss_1, const Tensor& x_ND,
                        const Tensor& target_N, const Tensor& loss_scale_1, const HeadWeights& weights,
                        GradientMode gradients, const HeadWorkspace& scratch, Ops& ops) const;

 private:
  void losses(Tensor loss_1, const Tensor& x_ND, const Tensor& target_N, const Tensor& loss_scale_1,
              const HeadWeights& weights, std::optional<GradientMode> gradients, const HeadWorkspace& scratch,
              Ops& ops) const;

  HeadSpec spec_;
  int64_t vocabulary_;
  Tensor scaled_norm_D_, scaled_gradient_D_;  // none where logits are not scaled
};

}  // namespace moe::model
