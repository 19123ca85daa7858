// SPDX-License-Identifier: MIT
// The expert half of a block:  y = x + sum_k weight_k * expert_k(n) + shared(n),  n = norm(x).
// Norm, router, dispatch, experts, combine: one path, wherever the experts are. A shared expert, where there
// is one, runs while rows travel.
#pragma once

#include <optional>

#include "model/experts.h"
#include "model/recompute.h"
#include "model/router.h"
#include "model/shared_expert.h"
#include "model/token_dispatcher.h"
#include "ops/ops.h"
#include "tensor/arena.h"

namespace moe::model {

struct MoeWeights {
  void declare(ParameterList& list, const MoeSpec& spec);
  Parameter norm, router;  // [D], [E, D]
  Buffer router_bias;      // [E]; none without MoeSpec::biased
  ExpertsWeights experts;
  SharedExpertWeights shared;
};

// What forward keeps for backward; one for each layer.
struct MoeSaved {
  // Activations that `recompute` does not keep share the memory of `first`, which is null for the first layer
  // with experts.
  MoeSaved(const MoeSpec& spec, DType type, int64_t N, Recompute recompute, Mode mode, const MoeSaved* first,
           const TokenDispatcher& dispatcher, Arena& arena);
  // The same memory for fewer tokens.
  MoeSaved first(int64_t N) const;
  Tensor norm_ND, rstd_N;
  ScaledRows norm8_ND;  // in FP8 training: of one layer at a time, so all share it
  RouterSaved router;
  DispatchedTokens dispatched;
  Tensor h_R2F;  // of this rank's experts
  std::optional<SharedExpertSaved> shared;
};

// Scratch memory, for at most N tokens. Inference has no dnorm, and a shared expert has its own.
struct MoeWorkspace {
  MoeWorkspace(const MoeSpec& spec, DType type, int64_t N, const TokenDispatcher& dispatcher, Mode mode,
               Arena& arena);
  RouterWorkspace router;
  ExpertsWorkspace experts;
  std::optional<SharedExpertWorkspace> shared;
  Tensor dnorm_ND;
  ScaledRows recv8_XD, recv_gradient8_XD;  // in FP8 training: what came from other ranks
};

class MoeLayer {
 public:
  MoeLayer(const MoeSpec& spec, Recompute recompute);

  // Forward in three phases; work queued between them overlaps the communication of expert parallelism.
  // Evaluation has no capacity to keep to.
  void dispatch(MoeSaved& saved, const Tensor& x_ND, const MoeWeights& weights, const Tokens& tokens,
                const Capacity& capacity, TokenDispatcher& dispatcher, const MoeWorkspace& scratch,
                Ops& ops) const;
  // With a shared expert it begins y_ND, which must stay as it is until combine().
  void experts(Tensor y_ND, MoeSaved& saved, const Tensor& x_ND, const MoeWeights& weights,
               const DensePlan& plan, TokenDispatcher& dispatcher, const MoeWorkspace& scratch,
               Ops& ops) const;
  // y_ND = x_ND + ..., and the norm of it that comes behind this layer, or null.
  void combine(Tensor y_ND, const MoeSaved& saved, const Tensor& x_ND, const RmsNormForward* norm_of_y,
               TokenDispatcher& dispatcher, Ops& ops) const;

  // All of forward where all experts are here, in operations for few rows: for generation. y_ND is not x_ND
  // where there is a shared expert.
  void next(Tensor y_ND, MoeSaved& saved, const Tensor& x_ND, const MoeWeights& weights, const Tokens& tokens,
            const MoeWorkspace& scratch, Ops& ops) const;

  // Backward likewise. d_ND: d(loss)/dy until the last phase has made d(loss)/dx of it, and of d8_ND
  // where there is one. saved.h_R2F is overwritten.
  void dispatch_gradients(MoeSaved& saved, const Tensor& d_ND, const Tensor& x_ND, const MoeWeights& weights,
                          TokenDispatcher& dispatcher, const MoeWorkspace& scratch, Ops& ops) const;
  void experts_backward(MoeSaved& saved, const Tensor& d_ND, const ScaledRows& d8_ND,
                        const MoeWeights& weights, GradientMode gradients, const DensePlan& plan,
                        TokenDispatcher& dispatcher, const MoeWorkspace& scratch, Ops& ops) const;
  void combine_gradients(Tensor d_ND, const ScaledRows& d8_ND, const MoeSaved& saved, const Tensor& x_ND,
                         const MoeWeights& weights, const Tokens& tokens, const Tensor& scale_1,
                         TokenDispatcher& dispatcher, const MoeWorkspace& scratch, Ops& ops) const;

 private:
  // Rows that are here are in FP8 already; those that came are quantised again, to the same bits.
  ScaledRows fp8(const ScaledRows& here, const ScaledRows& recv, const Tensor& x_ND,
                 const TokenDispatcher& dispatcher, Ops& ops) const;
  void norm(MoeSaved& saved, const Tensor& x_ND, const MoeWeights& weights, Ops& ops) const;

  MoeSpec spec_;
  Recompute recompute_;
  Router router_;
  Experts experts_;
  SharedExpert shared_;
};

}  // namespace moe::model
