// SPDX-License-Identifier: MIT
// The attention half of a block:  y = x + out(gate(attention(rope(norm(q)), rope(norm(k)), v))),
// with [q | gate], k, v = qkvg(norm(x)) in one product. Forward and backward side by side.
#pragma once

#include "model/config.h"
#include "model/recompute.h"
#include "model/weights.h"
#include "ops/ops.h"
#include "tensor/arena.h"

namespace moe {

// The tokens of a micro-batch on the device, and the table of rotations; all i32 but rope.
struct Tokens {
  Tensor input_N, target_N;
  Tensor doc_start_BT;  // start of the token's document in its row; -1: padding
  Tensor doc_start_N;   // the same memory, flat
  Tensor position_N;    // index in the row
  Tensor rope_Td;       // f32
};

// What forward keeps for backward; one for each layer.
struct AttentionSaved {
  // What `recompute` does not keep lies in the first layer's memory; no first: this is the first.
  AttentionSaved(const ModelConfig& config, DType type, int64_t N, Recompute recompute,
                 const AttentionSaved* first, Arena& arena);
  Tensor norm_ND, rstd_N, packed_NP, q_NHd, k_NGd, rstd_NJ, o_NHd, lse_NH;
};

class Attention {
 public:
  // Takes the memory that all layers share.
  Attention(const ModelConfig& config, DType type, int64_t N, Recompute recompute, Arena& arena);

  // y_ND: written; x_ND: kept by the caller until backward.
  void forward(Tensor y_ND, AttentionSaved& saved, const Tensor& x_ND, const Weights::Layer& weights,
               const Tokens& tokens, Ops& ops) const;
  // d_ND: in, d(loss)/dy; out, d(loss)/dx.
  void backward(Tensor d_ND, AttentionSaved& saved, const Tensor& x_ND, const Weights::Layer& weights,
                const Tokens& tokens, GradientMode gradients, Ops& ops) const;

 private:
  // Fills `saved`; not everything: without the products and the attention itself.
  void prepare(AttentionSaved& saved, bool everything, const Tensor& x_ND, const Weights::Layer& weights,
               const Tokens& tokens, Ops& ops) const;

  Heads heads_;
  float eps_;
  Recompute recompute_;
  Tensor gated_NHd_, dgated_NHd_, dq_NHd_, dk_NGd_, dpacked_NP_, dnorm_ND_, delta_NH_;
};

}  // namespace moe
