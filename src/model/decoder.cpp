// SPDX-License-Identifier: MIT
#include "model/decoder.h"

#include <algorithm>
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
                      .start_B = {}});
  }
  tokens_.input_N = take(DType::i32, {N});
  tokens_.position_N = take(DType::i32, {N});
  tokens_.doc_start_N = take(DType::i32, {N});
  tokens_.rope_Td = take(DType::f32, {S, spec_.rope.head_dim});
  if (spec_.all_parts().has_ffn()) tokens_.dense = DensePlan(N, arena);
  next_ = tokens_;
  next_.dense = tokens_.dense.first(B);
  next_3B_ = take(DType::i32, {3, B});
  int64_t row = 0;
  for (Tensor* tensor : {&next_.input_N, &next_.position_N, &next_.doc_start_N}) {
    *tensor = next_3B_.rows(row, row + 1).reshape({B});
    ++row;
  }
  features_BD_ = take(type, {B, spec_.head.width});
  rstd_B_ = take(DType::f32, {B});
  logits_BV_ = take(type, {B, config.vocab_size});
  chosen_B_ = take(DType::i32, {B});
  draw_B_ = take(DType::i32, {B});
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

void Decoder::upload_next(const int32_t* ids, const int32_t* places, Device& device) {
  const auto B = static_cast<size_t>(B_);
  std::vector<int32_t> all(3 * B);
  for (size_t b = 0; b < B; ++b) {
    const bool real = ids[b] != kNone;
    all[b] = real ? ids[b] : 0;
    all[B + b] = places[b];
    all[2 * B + b] = real ? 0 : -1;  // not routed
  }
  device.to_device(next_3B_, all.data());
  next_.dense.set_tokens(B_, device);
}

Tensor Decoder::run_blocks(const Tokens& tokens, const Tensor& start_B, int64_t count, Ops& ops) {
  BlockSaved saved = saved_.first(B_ * count);
  const BlockContext context{tokens, *dispatcher_, workspace_, ops};
  // What follows each sequence: operations for few rows, which know of no other rank.
  const bool next = count == 1 && all_to_all_ == nullptr;
  ops.embedding_forward(saved.x_ND, tokens.input_N, weights_.embedding.compute, spec_.embedding_scale);
  for (size_t i = 0; i < cache_.size(); ++i) {
    const LayerWeights& weights = weights_.layers[i];
    KeyValueCache cache = cache_[i];
    cache.start_B = start_B;
    if (next) {
      blocks_[i].next(saved.x_ND, saved, weights, cache, context);
      continue;
    }
    ops.rms_norm_forward(blocks_[i].norm(saved, weights));
    blocks_[i].dispatch(saved, weights, &cache, {}, context);
    blocks_[i].experts(saved.x_ND, saved, weights, context);
    blocks_[i].combine(saved.x_ND, saved, nullptr, context);
  }
  return saved.x_ND;
}

void Decoder::read(const int32_t* ids, int64_t count, int64_t start, Device& device, Ops& ops) {
  CHECK(count >= 1 && count <= chunk_ && start >= 0 && start + count <= S_);
  const std::vector<int32_t> starts(static_cast<size_t>(B_), static_cast<int32_t>(start));
  upload(ids, count, starts.data(), device);
  const int64_t N = B_ * count;
  Tokens tokens = tokens_;
  for (Tensor* tensor : {&tokens.input_N, &tokens.position_N, &tokens.doc_start_N})
    *tensor = tensor->rows(0, N);
  tokens.dense = tokens_.dense.first(N);
  run_blocks(tokens, start_B_, count, ops);
}

Tensor Decoder::next(const int32_t* ids, const int32_t* places, Device& device, Ops& ops) {
  CHECK(step_ != nullptr, "prepare() comes first");
  for (int64_t b = 0; b < B_; ++b) CHECK(places[b] >= 0 && places[b] < S_);
  upload_next(ids, places, device);
  step_->run([&] {
    head_.features(features_BD_, rstd_B_, run_blocks(next_, next_.position_N, 1, ops), weights_.head(), ops);
    head_.logits(logits_BV_, features_BD_, weights_.head(), ops);
    if (all_to_all_ != nullptr) all_to_all_->broadcast(logits_BV_);
  });
  return logits_BV_;
}

Tensor Decoder::most_likely(int64_t vocabulary, int32_t except, Ops& ops) {
  ops.argmax({.index_N = chosen_B_,
              .x_NV = logits_BV_,
              .columns = std::min(vocabulary, logits_BV_.dim(1)),
              .except = except});
  return chosen_B_;
}

Tensor Decoder::sample(const int32_t* draws, const SamplingRule& rule, int64_t vocabulary, int32_t except,
                       Device& device, Ops& ops) {
  device.to_device(draw_B_, draws);
  ops.sample({.id_N = chosen_B_,
              .x_NV = logits_BV_,
              .draw_N = draw_B_,
              .columns = std::min(vocabulary, logits_BV_.dim(1)),
              .except = except,
              .rule = rule});
  return chosen_B_;
}

}  // namespace moe::model
