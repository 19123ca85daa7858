// SPDX-License-Identifier: MIT
#include "model/block.h"

namespace moe {

BlockSaved::BlockSaved(const ModelConfig& config, DType type, int64_t N, Recompute recompute, Mode mode,
                       const BlockSaved* first, const TokenDispatcher& dispatcher, Arena& arena)
    : x_ND(arena.allocate("activations: residual stream", type, {N, config.d_model})),
      middle_ND(arena.allocate("activations: residual stream", type, {N, config.d_model})),
      attention(config, type, N, recompute, mode, first == nullptr ? nullptr : &first->attention, arena),
      moe(config, type, N, recompute, first == nullptr ? nullptr : &first->moe, dispatcher, arena) {}

BlockSaved BlockSaved::first(int64_t N) const {
  BlockSaved view = *this;
  view.x_ND = x_ND.rows(0, N);
  view.middle_ND = middle_ND.rows(0, N);
  view.attention = attention.first(N);
  view.moe = moe.first(N);
  return view;
}

BlockWorkspace::BlockWorkspace(const ModelConfig& config, DType type, int64_t N, Mode mode,
                               const TokenDispatcher& dispatcher, Arena& arena)
    : attention(config, type, N, mode, arena), moe(config, type, N, dispatcher, mode, arena) {}

Block::Block(const ModelConfig& config, Recompute recompute)
    : attention_(config, recompute), moe_(config, recompute) {}

void Block::dispatch(BlockSaved& saved, const Weights::Layer& weights, const KeyValueCache* cache,
                     const Capacity& capacity, const BlockContext& context) const {
  const auto& [tokens, dispatcher, scratch, ops] = context;
  attention_.forward(saved.middle_ND, saved.attention, saved.x_ND, weights, tokens, cache, scratch.attention,
                     ops);
  moe_.dispatch(saved.moe, saved.middle_ND, weights, tokens.doc_start_N, capacity, dispatcher, scratch.moe,
                ops);
}

void Block::experts(BlockSaved& saved, const Weights::Layer& weights, const BlockContext& context) const {
  const auto& [tokens, dispatcher, scratch, ops] = context;
  moe_.experts(saved.moe, weights, dispatcher, scratch.moe, ops);
}

void Block::combine(Tensor y_ND, const BlockSaved& saved, const BlockContext& context) const {
  moe_.combine(y_ND, saved.moe, saved.middle_ND, context.dispatcher, context.ops);
}

void Block::dispatch_gradients(const Tensor& d_ND, BlockSaved& saved, const Weights::Layer& weights,
                               const BlockContext& context) const {
  const auto& [tokens, dispatcher, scratch, ops] = context;
  moe_.dispatch_gradients(saved.moe, d_ND, saved.middle_ND, weights, dispatcher, scratch.moe, ops);
}

void Block::experts_backward(BlockSaved& saved, const Weights::Layer& weights, GradientMode gradients,
                             const BlockContext& context) const {
  const auto& [tokens, dispatcher, scratch, ops] = context;
  moe_.experts_backward(saved.moe, weights, gradients, dispatcher, scratch.moe, ops);
}

void Block::combine_gradients(Tensor d_ND, BlockSaved& saved, const Weights::Layer& weights,
                              const Tensor& router_scale_1, GradientMode gradients,
                              const BlockContext& context) const {
  const auto& [tokens, dispatcher, scratch, ops] = context;
  moe_.combine_gradients(d_ND, saved.moe, saved.middle_ND, weights, tokens.doc_start_N, router_scale_1,
                         dispatcher, scratch.moe, ops);
  attention_.backward(d_ND, saved.attention, saved.x_ND, weights, tokens, gradients, scratch.attention, ops);
}

}  // namespace moe
