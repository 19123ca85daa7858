// SPDX-License-Identifier: MIT
// One layer:  middle = x + attention(norm(x)),  y = middle + moe(norm(middle)).
// Forward has three phases, and so has backward. Tokens travel to their experts and back between them, so a
// schedule may run phases of another micro-batch there (model/schedule.h).
#pragma once

#include "model/attention.h"
#include "model/moe.h"
#include "model/tokens.h"

namespace moe::model {

struct LayerWeights {
  void declare(ParameterList& list, const LayerSpec& spec);
  AttentionWeights attention;
  MoeWeights moe;
};

// What forward keeps for backward.
struct BlockSaved {
  // Activations that `recompute` does not keep share the first layer's memory. first: null for the first
  // layer.
  BlockSaved(const LayerSpec& spec, DType type, int64_t N, Recompute recompute, Mode mode,
             const BlockSaved* first, const TokenDispatcher& dispatcher, Arena& arena);
  // The same memory for fewer tokens.
  BlockSaved first(int64_t N) const;
  Tensor x_ND, middle_ND;  // the residual stream at the block's entry and between its halves
  AttentionSaved attention;
  MoeSaved moe;
};

// Scratch memory of all blocks and all micro-batches in flight: a phase leaves nothing in it.
struct BlockWorkspace {
  BlockWorkspace(const LayerSpec& spec, DType type, int64_t N, Mode mode, const TokenDispatcher& dispatcher,
                 Arena& arena);
  AttentionWorkspace attention;
  MoeWorkspace moe;
};

// The micro-batch at hand, and what its blocks work with.
struct BlockContext {
  const Tokens& tokens;
  TokenDispatcher& dispatcher;
  const BlockWorkspace& scratch;
  Ops& ops;
};

class Block {
 public:
  Block(const LayerSpec& spec, Recompute recompute);

  // Attention and router; tokens leave for their experts. cache: null in training (model/attention.h).
  void dispatch(BlockSaved& saved, const LayerWeights& weights, const KeyValueCache* cache,
                const Capacity& capacity, const BlockContext& context) const;
  // The experts of this rank; results leave for where the tokens came from.
  void experts(BlockSaved& saved, const LayerWeights& weights, const BlockContext& context) const;
  // y_ND: the residual stream behind the block; may be saved.x_ND in generation.
  void combine(Tensor y_ND, const BlockSaved& saved, const BlockContext& context) const;

  // d_ND: in, d(loss)/dy; out, after combine_gradients(), d(loss)/dx.
  void dispatch_gradients(const Tensor& d_ND, BlockSaved& saved, const LayerWeights& weights,
                          const BlockContext& context) const;
  void experts_backward(BlockSaved& saved, const LayerWeights& weights, GradientMode gradients,
                        const BlockContext& context) const;
  // router_scale_1: as Router has it.
  void combine_gradients(Tensor d_ND, BlockSaved& saved, const LayerWeights& weights,
                         const Tensor& router_scale_1, GradientMode gradients,
                         const BlockContext& context) const;

 private:
  Attention attention_;
  MoeLayer moe_;
};

}  // namespace moe::model
