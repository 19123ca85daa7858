// SPDX-License-Identifier: MIT
// A SwiGLU that every token goes through:  ffn(x) = ((x W_gate) * silu(x W_up)) W_down,  as an expert is
// (model/experts.h). Of the shared expert (model/shared_expert.h) and of dense layers (model/dense_layer.h).
#pragma once

#include <string>

#include "model/modes.h"
#include "model/parameter_list.h"
#include "model/recompute.h"
#include "model/spec.h"
#include "ops/ops.h"
#include "tensor/arena.h"

namespace moe {
class Device;
}

namespace moe::model {

// Of the gradient-norm table.
inline constexpr const char* kDenseGroup = "dense";

struct DenseFfnWeights {
  // name: what the names of the matrices begin with.
  void declare(ParameterList& list, const std::string& name, const FfnSpec& spec);
  Parameter gate_up, down;  // [2F, D], [D, F]
};

// The plan by which a single expert takes all tokens in their order: the activation's ops read one.
class DensePlan {
 public:
  DensePlan() = default;  // none
  DensePlan(int64_t N, Arena& arena);
  // Once before the first pass: of all N tokens.
  void upload(Device& device) const;
  // Before a pass over fewer tokens, whose plan is first(N).
  void set_tokens(int64_t N, Device& device) const;
  DensePlan first(int64_t N) const;
  const RoutePlan& plan() const { return plan_; }

 private:
  RoutePlan plan_;
};

// What forward keeps for backward; one for each layer.
struct DenseFfnSaved {
  // With full recomputation it shares the memory of `first`, which is null for the first such layer.
  DenseFfnSaved(const FfnSpec& spec, DType type, int64_t N, Recompute recompute, const DenseFfnSaved* first,
                Arena& arena);
  // The same memory for fewer tokens.
  DenseFfnSaved first(int64_t N) const { return DenseFfnSaved(h_N2F.rows(0, N)); }
  Tensor h_N2F;

 private:
  explicit DenseFfnSaved(const Tensor& h) : h_N2F(h) {}
};

// Scratch memory, for at most N tokens. y_ND: where results are weighted. Inference has no dweight.
struct DenseFfnWorkspace {
  DenseFfnWorkspace(const FfnSpec& spec, bool weighted, DType type, int64_t N, Mode mode, Arena& arena);
  Tensor a_NF, y_ND;
  Tensor one_N1, dweight_N1;  // f32
};

class DenseFfn {
 public:
  explicit DenseFfn(Recompute recompute) : recompute_(recompute) {}

  // y_ND = residual_ND + weight * ffn(x_ND). weight_N1: f32; empty: 1.
  void forward(Tensor y_ND, DenseFfnSaved& saved, const Tensor& residual_ND, const Tensor& weight_N1,
               const Tensor& x_ND, const DenseFfnWeights& weights, const DensePlan& plan,
               const DenseFfnWorkspace& scratch, Ops& ops) const;
  // dx_ND = d(loss)/dx of the ffn alone, scratch.dweight_N1 = d(loss)/d(weight). d_ND: d(loss)/dy.
  // saved.h_N2F is overwritten.
  void backward(Tensor dx_ND, DenseFfnSaved& saved, const Tensor& d_ND, const Tensor& weight_N1,
                const Tensor& x_ND, const DenseFfnWeights& weights, GradientMode gradients,
                const DensePlan& plan, const DenseFfnWorkspace& scratch, Ops& ops) const;

 private:
  Recompute recompute_;
};

}  // namespace moe::model
