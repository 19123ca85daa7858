// SPDX-License-Identifier: MIT
// One layer:  middle = x + attention(norm(x)),  y = middle + moe(norm(middle)),  or with a dense SwiGLU in
// place of router and experts.
// Forward has three phases, and so has backward. Tokens travel to their experts and back between them, so a
// schedule may run phases of another micro-batch there (model/schedule.h). Dense layers run in one of them.
#pragma once

#include <optional>
#include <span>

#include "model/attention.h"
#include "model/dense_layer.h"
#include "model/moe.h"
#include "model/tokens.h"

namespace moe::model {

struct LayerWeights {
  void declare(ParameterList& list, const LayerSpec& spec);
  AttentionWeights attention;
  // One of them, as the layer is.
  MoeWeights moe;
  DenseLayerWeights dense;
};

// What forward keeps for backward.
struct BlockSaved {
  // Activations that `recompute` does not keep share the memory of the first layer that has the part.
  // earlier: the layers before this one.
  BlockSaved(const LayerSpec& spec, DType type, int64_t N, Recompute recompute, Mode mode,
             std::span<const BlockSaved> earlier, const TokenDispatcher& dispatcher, Arena& arena);
  // The same memory for fewer tokens.
  BlockSaved first(int64_t N) const;
  Tensor x_ND, middle_ND;  // the residual stream at the block's entry and between its halves
  AttentionSaved attention;
  std::optional<MoeSaved> moe;
  std::optional<DenseLayerSaved> dense;
};

// Scratch memory of all blocks and all micro-batches in flight: a phase leaves nothing in it.
struct BlockWorkspace {
  BlockWorkspace(const LayerSpec& spec, DType type, int64_t N, Mode mode, const TokenDispatcher& dispatcher,
                 Arena& arena);
  AttentionWorkspace attention;
  std::optional<MoeWorkspace> moe;
  std::optional<DenseLayerWorkspace> dense;
};

// The micro-batch at hand, and what its blocks work with.
struct BlockContext {
  const Tokens& tokens;
  TokenDispatcher& dispatcher;
  const BlockWorkspace& scratch;
  Ops& ops;
  const ScaledRows d8_ND = {};  // in FP8 training: the gradient of the residual stream, behind each half
};

class Block {
 public:
  Block(const LayerSpec& spec, Recompute recompute);

  // The norm of saved.x_ND that dispatch() reads; whoever makes x_ND runs it.
  RmsNormForward norm(const BlockSaved& saved, const LayerWeights& weights) const;
  // Attention and router; tokens leave for their experts. cache: null in training (model/attention.h).
  void dispatch(BlockSaved& saved, const LayerWeights& weights, const KeyValueCache* cache,
                const Capacity& capacity, const BlockContext& context) const;
  // The experts of this rank; results leave for where the tokens came from. y_ND: the residual stream behind
  // the block; may be saved.x_ND in generation.
  void experts(Tensor y_ND, BlockSaved& saved, const LayerWeights& weights,
               const BlockContext& context) const;
  // norm_of_y: the next block's; null at the end.
  void combine(Tensor y_ND, const BlockSaved& saved, const RmsNormForward* norm_of_y,
               const BlockContext& context) const;

  // All three phases for one new token of each sequence, where all experts are here. y_ND: as experts()'.
  void next(Tensor y_ND, BlockSaved& saved, const LayerWeights& weights, const KeyValueCache& cache,
            const BlockContext& context) const;

  // d_ND: in, d(loss)/dy; out, after combine_gradients(), d(loss)/dx.
  void dispatch_gradients(const Tensor& d_ND, BlockSaved& saved, const LayerWeights& weights,
                          const BlockContext& context) const;
  void experts_backward(const Tensor& d_ND, BlockSaved& saved, const LayerWeights& weights,
                        GradientMode gradients, const BlockContext& context) const;
  // router_scale_1: as Router has it.
  void combine_gradients(Tensor d_ND, BlockSaved& saved, const LayerWeights& weights,
                         const Tensor& router_scale_1, GradientMode gradients,
                         const BlockContext& context) const;

 private:
  Attention attention_;
  std::optional<MoeLayer> moe_;
  std::optional<DenseLayer> dense_;
};

}  // namespace moe::model
