// SPDX-License-Identifier: MIT
// The expert that each token goes to beside those that the router chooses (DeepSeekMoE, arXiv 2401.06066):
// g * ffn(x),  g = sigmoid(x w_g) as transformers' Qwen3NextSparseMoeBlock has it, or 1. Each rank has all of
// it.
#pragma once

#include "model/dense_ffn.h"

namespace moe::model {

struct SharedExpertWeights {
  void declare(ParameterList& list, const MoeSpec& spec);
  DenseFfnWeights ffn;
  Parameter gate;  // [1, D], f32 as a router is; none where spec.shared_gate is false
};

// What forward keeps for backward; one for each layer.
struct SharedExpertSaved {
  // first: of the first layer with a router, null there; layers share its memory as DenseFfnSaved says.
  SharedExpertSaved(const MoeSpec& spec, DType type, int64_t N, Recompute recompute,
                    const SharedExpertSaved* first, Mode mode, Arena& arena);
  // The same memory for fewer tokens.
  SharedExpertSaved first(int64_t N) const;
  DenseFfnSaved ffn;
  Tensor gate_N1;  // f32
  Tensor dx_ND;    // d(loss)/dx: of the layer that runs backward
};

// Scratch memory, for at most N tokens.
struct SharedExpertWorkspace {
  SharedExpertWorkspace(const MoeSpec& spec, DType type, int64_t N, Mode mode, Arena& arena)
      : ffn(spec.shared, spec.shared_gate, type, N, mode, arena) {}
  DenseFfnWorkspace ffn;
};

class SharedExpert {
 public:
  explicit SharedExpert(Recompute recompute) : ffn_(recompute) {}

  // y_ND = residual_ND + g * ffn(x_ND). x_ND: after the norm.
  void forward(Tensor y_ND, SharedExpertSaved& saved, const Tensor& residual_ND, const Tensor& x_ND,
               const SharedExpertWeights& weights, const DensePlan& plan,
               const SharedExpertWorkspace& scratch, Ops& ops) const;
  // Writes saved.dx_ND. d_ND: d(loss)/dy.
  void backward(SharedExpertSaved& saved, const Tensor& d_ND, const Tensor& x_ND,
                const SharedExpertWeights& weights, GradientMode gradients, const DensePlan& plan,
                const SharedExpertWorkspace& scratch, Ops& ops) const;

 private:
  DenseFfn ffn_;
};

}  // namespace moe::model
