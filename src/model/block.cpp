// SPDX-License-Identifier: MIT
#include "model/block.h"

namespace moe::model {

void LayerWeights::declare(ParameterList& list, const LayerSpec& spec) {
  attention.declare(list, spec.attention);
  moe.declare(list, spec.moe);
}

BlockSaved::BlockSaved(const LayerSpec& spec, DType type, int64_t N, Recompute recompute, Mode mode,
                       const BlockSaved* first, const TokenDispatcher& dispatcher, Arena& arena)
    : x_ND(arena.allocate("activations: residual stream", type, {N, spec.attention.width})),
      middle_ND(arena.allocate("activations: residual stream", type, {N, spec.attention.width})),
      attention(spec.attention, type, N, recompute, mode, first == nullptr ? nullptr : &first->attention,
                arena),
      moe(spec.moe, type, N, recompute, first == nullptr ? nullptr : &first->moe, dispatcher, arena) {}

BlockSaved BlockSaved::first(int64_t N) const {
  BlockSaved view = *this;
  view.x_ND = x_ND.rows(0, N);
  view.middle_ND = middle_ND.rows(0, N);
  view.attention = attention.first(N);
  view.moe = moe.first(N);
  return view;
}

BlockWorkspace::BlockWorkspace(const LayerSpec& spec, DType type, int64_t N, Mode mode,
                               const TokenDispatcher& dispatcher, Arena& arena)
    : attention(spec.attention, type, N, mode, arena), moe(spec.moe, type, N, dispatcher, mode, arena) {}

Block::Block(const LayerSpec& spec, Recompute recompute)
    : attention_(spec.attention, recompute), moe_(spec.moe, recompute) {}

void Block::dispatch(BlockSaved& saved, const LayerWeights& weights, const KeyValueCache* cache,
                     const Capacity& capacity, const BlockContext& context) const {
  const auto& [tokens, dispatcher, scratch, ops] = context;
  attention_.forward(saved.middle_ND, saved.attention, saved.x_ND, weights.attention, tokens, cache,
                     scratch.attention, ops);
  moe_.dispatch(saved.moe, saved.middle_ND, weights.moe, tokens, capacity, dispatcher, scratch.moe, ops);
}

void Block::experts(BlockSaved& saved, const LayerWeights& weights, const BlockContext& context) const {
  const auto& [tokens, dispatcher, scratch, ops] = context;
  moe_.experts(saved.moe, weights.moe, dispatcher, scratch.moe, ops);
}

void Block::combine(Tensor y_ND, const BlockSaved& saved, const BlockContext& context) const {
  moe_.combine(y_ND, saved.moe, saved.middle_ND, context.dispatcher, context.ops);
}

void Block::dispatch_gradients(const Tensor& d_ND, BlockSaved& saved, const LayerWeights& weights,
                               const BlockContext& context) const {
  const auto& [tokens, dispatcher, scratch, ops] = context;
  moe_.dispatch_gradients(saved.moe, d_ND, saved.middle_ND, weights.moe, dispatcher, scratch.moe, ops);
}

void Block::experts_backward(BlockSaved& saved, const LayerWeights& weights, GradientMode gradients,
                             const BlockContext& context) const {
  const auto& [tokens, dispatcher, scratch, ops] = context;
  moe_.experts_backward(saved.moe, weights.moe, gradients, dispatcher, scratch.moe, ops);
}

void Block::combine_gradients(Tensor d_ND, BlockSaved& saved, const LayerWeights& weights,
                              const Tensor& router_scale_1, GradientMode gradients,
                              const BlockContext& context) const {
  const auto& [tokens, dispatcher, scratch, ops] = context;
  moe_.combine_gradients(d_ND, saved.moe, saved.middle_ND, weights.moe, tokens, router_scale_1, dispatcher,
                         scratch.moe, ops);
  attention_.backward(d_ND, saved.attention, saved.x_ND, weights.attention, tokens, gradients,
                      scratch.attention, ops);
}

}  // namespace moe::model
