// SPDX-License-Identifier: MIT
#include "model/decoder.h"

#include <utility>

#include "model/transformer.h"
#include "tensor/device.h"

namespace moe::model {

Decoder::Decoder(const ModelConfig& config, DType type, int64_t B, int64_t S, int64_t chunk, Weights& weights,
                 Arena& arena, AllToAll* all_to_all)
    : spec_(config.spec()),
      B_(B),
      S_(S),
      chunk_(chunk),
      weights_(weights),
      all_to_all_(all_to_all),
      head_(spec_.head, config.vocab_size, Mode::inference, arena),
      dispatcher_(
          make_dispatcher(spec_.moe(), type, B * chunk, Recompute::none, all_to_all, Mode::inference, arena)),
      workspace_(spec_.all_parts(), type, B * chunk, Mode::inference, *dispatcher_, arena),
      saved_(spec_.all_parts(), type, B * chunk, Recompute::none, Mode::inference, {}, *dispatcher_, arena) {
  const int64_t N = B * chunk;
  const auto take = [&](DType dtype, std::initializer_list<int64_t> shape) {
    return arena.allocate("activations", dtype, shape);
  };
  start_B_ = take(DType::i32, {B});
  for (const LayerSpec& layer : spec_.layers) {
    const Heads& heads = layer.attention.heads;
    blocks_.emplace_back(layer, Recompute::none);
    cache_.push_back({.k_BSGd = arena.allocate("key-value cache", type, {B, S, heads.kv, heads.dim}),
                      .v_BSGd = arena.allocate("key-value cache", type, {B, S, heads.kv, heads.dim}),
                      .start_B = start_B_});
  }
  tokens_.input_N = take(DType::i32, {N});
  tokens_.position_N = take(DType::i32, {N});
  tokens_.doc_start_N = take(DType::i32, {N});
  tokens_.rope_Td = take(DType::f32, {S, spec_.rope.head_dim});
  if (spec_.all_parts().has_ffn()) tokens_.dense = DensePlan(N, arena);
  features_BD_ = take(type, {B, spec_.head.width});
  rstd_B_ = take(DType::f32, {B});
  logits_BV_ = take(type, {B, config.vocab_size});
}

void Decoder::prepare(Device& device, std::unique_ptr<CapturedRegion> step) {
  step_ = std::move(step);
  device.to_device(tokens_.rope_Td, rope_table(S_, spec_.rope).data());
  tokens_.dense.upload(device);
}

void Decoder::upload(const int32_t* ids, int64_t count, const int32_t* starts, Device& device) {
  const auto N = static_cast<size_t>(B_ * count);
  std::vector<int32_t> id(N), position(N), first(N);
  for (size_t n = 0; n < N; ++n) {
    const auto b = n / static_cast<size_t>(count), i = n % static_cast<size_t>(count);
    const bool real = ids[n] != kNone;
    id[n] = real ? ids[n] : 0;
    first[n] = real ? 0 : -1;  // not routed
    position[n] = starts[b] + static_cast<int32_t>(i);
  }
  device.to_device(tokens_.input_N.rows(0, B_ * count), id.data());
  device.to_device(tokens_.position_N.rows(0, B_ * count), position.data());
  device.to_device(tokens_.doc_start_N.rows(0, B_ * count), first.data());
  device.to_device(start_B_, starts);
  tokens_.dense.set_tokens(B_ * count, device);
}

Tensor Decoder::run_blocks(int64_t count, Ops& ops) {
  const int64_t N = B_ * count;
  BlockSaved saved = saved_.first(N);
  Tokens tokens = tokens_;
  for (Tensor* tensor : {&tokens.input_N, &tokens.position_N, &tokens.doc_start_N})
    *tensor = tensor->rows(0, N);
  tokens.dense = tokens_.dense.first(N);
  const BlockContext context{tokens, *dispatcher_, workspace_, ops};
  ops.embedding_forward(saved.x_ND, tokens.input_N, weights_.embedding.compute, spec_.embedding_scale);
  for (size_t i = 0; i < cache_.size(); ++i) {
    const LayerWeights& weights = weights_.layers[i];
    blocks_[i].dispatch(saved, weights, &cache_[i], {}, context);
    blocks_[i].experts(saved.x_ND, saved, weights, context);
    blocks_[i].combine(saved.x_ND, saved, context);
  }
  return saved.x_ND;
}

void Decoder::read(const int32_t* ids, int64_t count, int64_t start, Device& device, Ops& ops) {
  CHECK(count >= 1 && count <= chunk_ && start >= 0 && start + count <= S_);
  const std::vector<int32_t> starts(static_cast<size_t>(B_), static_cast<int32_t>(start));
  upload(ids, count, starts.data(), device);
  run_blocks(count, ops);
}

Tensor Decoder::next(const int32_t* ids, const int32_t* places, Device& device, Ops& ops) {
  CHECK(step_ != nullptr, "prepare() comes first");
  for (int64_t b = 0; b < B_; ++b) CHECK(places[b] >= 0 && places[b] < S_);
  upload(ids, 1, places, device);
  step_->run([&] {
    head_.features(features_BD_, rstd_B_, run_blocks(1, ops), weights_.head(), ops);
    head_.logits(logits_BV_, features_BD_, weights_.head(), ops);
    if (all_to_all_ != nullptr) all_to_all_->broadcast(logits_BV_);
  });
  return logits_BV_;
}

}  // namespace moe::model
