// SPDX-License-Identifier: MIT
// The second half of a block without experts:  y = x + ffn(norm(x)).
#pragma once

#include "model/dense_ffn.h"

namespace moe::model {

struct DenseLayerWeights {
  void declare(ParameterList& list, const DenseSpec& spec);
  Parameter norm;  // [D]
  DenseFfnWeights ffn;
};

// What forward keeps for backward; one for each layer.
struct DenseLayerSaved {
  // Activations that `recompute` does not keep share the memory of `first`, which is null for the first
  // dense layer.
  DenseLayerSaved(const DenseSpec& spec, DType type, int64_t N, Recompute recompute,
                  const DenseLayerSaved* first, Arena& arena);
  // The same memory for fewer tokens.
  DenseLayerSaved first(int64_t N) const;
  Tensor norm_ND, rstd_N;
  DenseFfnSaved ffn;
};

// Scratch memory, for at most N tokens. Inference has no dnorm.
struct DenseLayerWorkspace {
  DenseLayerWorkspace(const DenseSpec& spec, DType type, int64_t N, Mode mode, Arena& arena);
  DenseFfnWorkspace ffn;
  Tensor dnorm_ND;
};

class DenseLayer {
 public:
  DenseLayer(const DenseSpec& spec, Recompute recompute);

  void forward(Tensor y_ND, DenseLayerSaved& saved, const Tensor& x_ND, const DenseLayerWeights& weights,
               const DensePlan& plan, const DenseLayerWorkspace& scratch, Ops& ops) const;
  // d_ND: in, d(loss)/dy; out, d(loss)/dx, as is d8_ND where there is one.
  void backward(Tensor d_ND, const ScaledRows& d8_ND, DenseLayerSaved& saved, const Tensor& x_ND,
                const DenseLayerWeights& weights, GradientMode gradients, const DensePlan& plan,
                const DenseLayerWorkspace& scratch, Ops& ops) const;

 private:
  void norm(DenseLayerSaved& saved, const Tensor& x_ND, const DenseLayerWeights& weights, Ops& ops) const;

  float eps_;
  Recompute recompute_;
  DenseFfn ffn_;
};

}  // namespace moe::model
