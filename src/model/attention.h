// SPDX-License-Identifier: MIT
// The attention half of a block:  y = x + out(gate(attention(rope(norm(q)), rope(norm(k)), v))),
// with [q | gate], k, v = qkvg(norm(x)), plus a bias or not, in one product. Forward and backward are side by
// side.
#pragma once

#include "model/modes.h"
#include "model/parameter_list.h"
#include "model/recompute.h"
#include "model/spec.h"
#include "model/tokens.h"
#include "ops/ops.h"
#include "tensor/arena.h"

namespace moe::model {

struct AttentionWeights {
  void declare(ParameterList& list, const AttentionSpec& spec);
  // [D], [P, D], [P] or none, then [d] twice, or [H d] and [G d], or none as Heads::norm says, [D, H d]
  Parameter norm, qkvg, bias, q_norm, k_norm, out;
};

// FLOPs of one token's scores and mixture among T tokens, forward and backward (a multiply-add is 2).
double attention_flops(const AttentionSpec& spec, int64_t T);

// What forward keeps for backward; one for each layer.
struct AttentionSaved {
  // Activations that `recompute` does not keep share the first layer's memory. first: null for the first
  // layer. Inference has no lse.
  AttentionSaved(const AttentionSpec& spec, DType type, int64_t N, Recompute recompute, Mode mode,
                 const AttentionSaved* first, Arena& arena);
  // In FP8 training. first: the first layer that is, or null for itself.
  void place_fp8(const AttentionSpec& spec, int64_t N, const AttentionSaved* first, Arena& arena);
  // The same memory for fewer tokens.
  AttentionSaved first(int64_t N) const;
  Tensor norm_ND, rstd_N, packed_NP, q_NHd, k_NGd, rstd_NJ, y_NHd, lse_NH;
  ScaledRows norm8_ND, y8_NHd;  // in FP8 training: for forward only, so all layers share them
};

// Scratch memory of backward, for at most N tokens; inference has none.
struct AttentionWorkspace {
  AttentionWorkspace(const AttentionSpec& spec, DType type, int64_t N, Mode mode, Arena& arena);
  Tensor dy_NHd, dq_NHd, dk_NGd, dpacked_NP, dnorm_ND, delta_NH;
  ScaledRows dpacked8_NP;
};

// For generation: the keys and values so far of each sequence.
struct KeyValueCache {
  Tensor k_BSGd, v_BSGd;
  Tensor start_B;  // i32: the place in the cache of each sequence's first new token
};

class Attention {
 public:
  Attention(const AttentionSpec& spec, Recompute recompute);

  // What forward() reads of x_ND, and backward() where it is not kept: whoever makes x_ND runs it.
  RmsNormForward norm(const AttentionSaved& saved, const Tensor& x_ND, const AttentionWeights& weights) const;
  // y_ND: written; x_ND: kept by the caller until backward. cache: null in training. With a cache the N
  // tokens are N / B new ones of each sequence, which see those before them.
  void forward(Tensor y_ND, AttentionSaved& saved, const Tensor& x_ND, const AttentionWeights& weights,
               const Tokens& tokens, const KeyValueCache* cache, Ops& ops) const;
  // forward() of one new token of each sequence, at its position: for generation, in operations for few rows.
  void next(Tensor y_ND, AttentionSaved& saved, const Tensor& x_ND, const AttentionWeights& weights,
            const Tokens& tokens, const KeyValueCache& cache, Ops& ops) const;
  // d_ND: in, d(loss)/dy; out, d(loss)/dx. d8_ND: the same in FP8, where something reads it.
  void backward(Tensor d_ND, const ScaledRows& d8_ND, AttentionSaved& saved, const Tensor& x_ND,
                const AttentionWeights& weights, const Tokens& tokens, GradientMode gradients,
                const AttentionWorkspace& scratch, Ops& ops) const;

 private:
  void project(AttentionSaved& saved, const AttentionWeights& weights, Ops& ops) const;
  void heads(AttentionSaved& saved, const AttentionWeights& weights, const Tokens& tokens, Ops& ops) const;

  // What recomputation has not kept.
  void forward_again(AttentionSaved& saved, const Tensor& x_ND, const AttentionWeights& weights,
                     const Tokens& tokens, Ops& ops) const;
  void attend(AttentionSaved& saved, const Tokens& tokens, Ops& ops) const;
  void attend(AttentionSaved& saved, const KeyValueCache& cache, Ops& ops) const;

  AttentionSpec spec_;
  Recompute recompute_;
};

}  // namespace moe::model
