// SPDX-License-Identifier: MIT
// The SwiGLU experts of this rank:  expert(x) = ((x W_gate) * silu(x W_up)) W_down,  each on the tokens that
// a plan gives it. Whose tokens these are is the dispatcher's business (model/token_dispatcher.h).
#pragma once

#include "model/modes.h"
#include "model/parameter_list.h"
#include "model/recompute.h"
#include "model/spec.h"
#include "ops/ops.h"
#include "tensor/arena.h"

namespace moe::model {

// Of this rank's experts.
struct ExpertsWeights {
  void declare(ParameterList& list, const MoeSpec& spec);
  Parameter gate_up, down;  // [E, 2F, D], [E, D, F]
};

// Scratch memory, for at most R rows.
struct ExpertsWorkspace {
  ExpertsWorkspace(const MoeSpec& spec, DType type, int64_t R, Arena& arena);
  // What the experts make of each row: in forward their results, in backward d(loss)/dx.
  Tensor rows_RD;
  Tensor a_RF;
};

// The tokens of this rank's experts. R = plan.slot_R.dim(0) = N K may be none.
struct ExpertTokens {
  Tensor x_ND;
  RoutePlan plan;
  ScaledRows x8_ND = {};  // in FP8 training
};

// How their results enter the loss.
struct ExpertGradients {
  Tensor dy_ND;            // d(loss)/d(combined results)
  Tensor weight_NK;        // of each assignment
  Tensor dweight_NK;       // written
  ScaledRows dy8_ND = {};  // in FP8 training
};

class Experts {
 public:
  explicit Experts(Recompute recompute) : recompute_(recompute) {}

  // Returns the results by row [R, D], in scratch.rows_RD. h_R2F: kept for backward.
  Tensor forward(Tensor h_R2F, const ExpertTokens& tokens, const ExpertsWeights& weights,
                 const ExpertsWorkspace& scratch, Ops& ops) const;
  // y_ND = residual_ND + the weighted sum of the results, in one operation: for generation, where all experts
  // are here. residual_ND may be y_ND.
  void mix(Tensor y_ND, Tensor h_R2F, const Tensor& residual_ND, const Tensor& x_ND, const Tensor& expert_NK,
           const Tensor& weight_NK, const RoutePlan& plan, const ExpertsWeights& weights,
           const ExpertsWorkspace& scratch, Ops& ops) const;
  // Returns d(loss)/dx by row, in scratch.rows_RD. h_R2F is overwritten.
  Tensor backward(Tensor h_R2F, const ExpertTokens& tokens, const ExpertGradients& to,
                  const ExpertsWeights& weights, GradientMode gradients, const ExpertsWorkspace& scratch,
                  Ops& ops) const;

 private:
  static void up(Tensor h_R2F, Tensor a_RF, Tensor rows_RD, const ExpertTokens& tokens,
                 const ExpertsWeights& weights, Ops& ops);

  Recompute recompute_;
};

}  // namespace moe::model
