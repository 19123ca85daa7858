// SPDX-License-Identifier: MIT
#include "model/block.h"

#include <algorithm>

namespace moe::model {

namespace {

// The part that a layer shares the memory of: that of the first layer which has it.
template <class Part>
const Part* first_of(std::span<const BlockSaved> earlier, std::optional<Part> BlockSaved::*part) {
  const auto found = std::find_if(earlier.begin(), earlier.end(),
                                  [&](const BlockSaved& layer) { return (layer.*part).has_value(); });
  return found == earlier.end() ? nullptr : &*((*found).*part);
}

}  // namespace

void LayerWeights::declare(ParameterList& list, const LayerSpec& spec) {
  attention.declare(list, spec.attention);
  if (spec.has_experts()) moe.declare(list, spec.moe);
  if (spec.is_dense()) dense.declare(list, spec.dense);
}

BlockSaved::BlockSaved(const LayerSpec& spec, DType type, int64_t N, Recompute recompute, Mode mode,
                       std::span<const BlockSaved> earlier, const TokenDispatcher& dispatcher, Arena& arena)
    : x_ND(arena.allocate("activations: residual stream", type, {N, spec.attention.width})),
      middle_ND(arena.allocate("activations: residual stream", type, {N, spec.attention.width})),
      attention(spec.attention, type, N, recompute, mode,
                earlier.empty() ? nullptr : &earlier.front().attention, arena) {
  if (spec.attention.fp8) {
    const auto first = std::find_if(earlier.begin(), earlier.end(), [](const BlockSaved& layer) {
      return !layer.attention.norm8_ND.empty();
    });
    attention.place_fp8(spec.attention, N, first == earlier.end() ? nullptr : &first->attention, arena);
  }
  if (spec.has_experts())
    moe.emplace(spec.moe, type, N, recompute, mode, first_of(earlier, &BlockSaved::moe), dispatcher, arena);
  if (spec.is_dense())
    dense.emplace(spec.dense, type, N, recompute, first_of(earlier, &BlockSaved::dense), arena);
}

BlockSaved BlockSaved::first(int64_t N) const {
  BlockSaved view = *this;
  view.x_ND = x_ND.rows(0, N);
  view.middle_ND = middle_ND.rows(0, N);
  view.attention = attention.first(N);
  if (moe) view.moe = moe->first(N);
  if (dense) view.dense = dense->first(N);
  return view;
}

BlockWorkspace::BlockWorkspace(const LayerSpec& spec, DType type, int64_t N, Mode mode,
                               const TokenDispatcher& dispatcher, Arena& arena)
    : attention(spec.attention, type, N, mode, arena) {
  if (spec.has_experts()) moe.emplace(spec.moe, type, N, dispatcher, mode, arena);
  if (spec.is_dense()) dense.emplace(spec.dense, type, N, mode, arena);
}

Block::Block(const LayerSpec& spec, Recompute recompute) : attention_(spec.attention, recompute) {
  if (spec.has_experts()) moe_.emplace(spec.moe, recompute);
  if (spec.is_dense()) dense_.emplace(spec.dense, recompute);
}

RmsNormForward Block::norm(const BlockSaved& saved, const LayerWeights& weights) const {
  return attention_.norm(saved.attention, saved.x_ND, weights.attention);
}

void Block::dispatch(BlockSaved& saved, const LayerWeights& weights, const KeyValueCache* cache,
                     const Capacity& capacity, const BlockContext& context) const {
  const auto& [tokens, dispatcher, scratch, ops, d8_ND] = context;
  attention_.forward(saved.middle_ND, saved.attention, saved.x_ND, weights.attention, tokens, cache, ops);
  if (moe_)
    moe_->dispatch(*saved.moe, saved.middle_ND, weights.moe, tokens, capacity, dispatcher, *scratch.moe, ops);
}

void Block::experts(Tensor y_ND, BlockSaved& saved, const LayerWeights& weights,
                    const BlockContext& context) const {
  const auto& [tokens, dispatcher, scratch, ops, d8_ND] = context;
  if (moe_)
    moe_->experts(y_ND, *saved.moe, saved.middle_ND, weights.moe, tokens.dense, dispatcher, *scratch.moe,
                  ops);
  if (dense_)
    dense_->forward(y_ND, *saved.dense, saved.middle_ND, weights.dense, tokens.dense, *scratch.dense, ops);
}

void Block::combine(Tensor y_ND, const BlockSaved& saved, const RmsNormForward* norm_of_y,
                    const BlockContext& context) const {
  if (moe_)
    moe_->combine(y_ND, *saved.moe, saved.middle_ND, norm_of_y, context.dispatcher, context.ops);
  else if (norm_of_y != nullptr)
    context.ops.rms_norm_forward(*norm_of_y);
}

void Block::next(Tensor y_ND, BlockSaved& saved, const LayerWeights& weights, const KeyValueCache& cache,
                 const BlockContext& context) const {
  const auto& [tokens, dispatcher, scratch, ops, d8_ND] = context;
  attention_.next(saved.middle_ND, saved.attention, saved.x_ND, weights.attention, tokens, cache, ops);
  if (moe_) moe_->next(y_ND, *saved.moe, saved.middle_ND, weights.moe, tokens, *scratch.moe, ops);
  if (dense_)
    dense_->forward(y_ND, *saved.dense, saved.middle_ND, weights.dense, tokens.dense, *scratch.dense, ops);
}

void Block::dispatch_gradients(const Tensor& d_ND, BlockSaved& saved, const LayerWeights& weights,
                               const BlockContext& context) const {
  const auto& [tokens, dispatcher, scratch, ops, d8_ND] = context;
  if (moe_)
    moe_->dispatch_gradients(*saved.moe, d_ND, saved.middle_ND, weights.moe, dispatcher, *scratch.moe, ops);
}

void Block::experts_backward(const Tensor& d_ND, BlockSaved& saved, const LayerWeights& weights,
                             GradientMode gradients, const BlockContext& context) const {
  const auto& [tokens, dispatcher, scratch, ops, d8_ND] = context;
  if (moe_)
    moe_->experts_backward(*saved.moe, d_ND, d8_ND, weights.moe, gradients, tokens.dense, dispatcher,
                           *scratch.moe, ops);
}

void Block::combine_gradients(Tensor d_ND, BlockSaved& saved, const LayerWeights& weights,
                              const Tensor& router_scale_1, GradientMode gradients,
                              const BlockContext& context) const {
  const auto& [tokens, dispatcher, scratch, ops, d8_ND] = context;
  if (moe_)
    moe_->combine_gradients(d_ND, d8_ND, *saved.moe, saved.middle_ND, weights.moe, tokens, router_scale_1,
                            dispatcher, *scratch.moe, ops);
  if (dense_)
    dense_->backward(d_ND, d8_ND, *saved.dense, saved.middle_ND, weights.dense, gradients, tokens.dense,
                     *scratch.dense, ops);
  attention_.backward(d_ND, d8_ND, saved.attention, saved.x_ND, weights.attention, tokens, gradients,
                      scratch.attention, ops);
}

}  // namespace moe::model
