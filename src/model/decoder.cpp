// SPDX-License-Identifier: MIT
#include "model/decoder.h"

#include <utility>

#include "model/transformer.h"
#include "tensor/device.h"

namespace moe {

Decoder::Decoder(const ModelConfig& config, DType type, int64_t B, int64_t S, int64_t chunk, Weights& weights,
                 Arena& arena, TokenDispatcher* dispatcher)
    : config_(config),
      heads_{config.n_heads, config.n_kv_heads, config.head_dim()},
      B_(B),
      S_(S),
      chunk_(chunk),
      eps_(static_cast<float>(config.norm_eps)),
      weights_(weights),
      dispatcher_(dispatcher),
      moe_(config, type, B * chunk, Recompute::none, dispatcher, arena),
      moe_saved_(config, type, B * chunk, Recompute::none, nullptr, dispatcher, arena) {
  const int64_t N = B * chunk, D = config.d_model, H = heads_.query, G = heads_.kv, d = heads_.dim;
  const auto take = [&](DType dtype, std::initializer_list<int64_t> shape) {
    return arena.allocate("activations", dtype, shape);
  };
  for (int64_t i = 0; i < config.n_layers; ++i)
    cache_.push_back({arena.allocate("key-value cache", type, {B, S, G, d}),
                      arena.allocate("key-value cache", type, {B, S, G, d})});
  id_N_ = take(DType::i32, {N});
  position_N_ = take(DType::i32, {N});
  doc_start_N_ = take(DType::i32, {N});
  start_B_ = take(DType::i32, {B});
  rope_Td_ = take(DType::f32, {S, d});
  x_ND_ = take(type, {N, D});
  middle_ND_ = take(type, {N, D});
  norm_ND_ = take(type, {N, D});
  rstd_N_ = take(DType::f32, {N});
  packed_NP_ = take(type, {N, heads_.packed()});
  q_NHd_ = take(type, {N, H, d});
  k_NGd_ = take(type, {N, G, d});
  rstd_NJ_ = take(DType::f32, {N, H + G});
  y_NHd_ = take(type, {N, H, d});
  logits_BV_ = take(type, {B, config.vocab_size});
}

void Decoder::prepare(Device& device, std::unique_ptr<CapturedRegion> step) {
  step_ = std::move(step);
  device.to_device(rope_Td_, rope_table(S_, heads_.dim, config_.rope_theta).data());
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
  device.to_device(id_N_.rows(0, B_ * count), id.data());
  device.to_device(position_N_.rows(0, B_ * count), position.data());
  device.to_device(doc_start_N_.rows(0, B_ * count), first.data());
  device.to_device(start_B_, starts);
}

void Decoder::attend(Tensor y_ND, Cache& cache, const Tensor& x_ND, const Weights::Layer& weights, Ops& ops) {
  const int64_t N = x_ND.dim(0), D = x_ND.dim(1);
  const Tensor norm_ND = norm_ND_.rows(0, N), rstd_N = rstd_N_.rows(0, N), packed_NP = packed_NP_.rows(0, N);
  const Tensor q_NHd = q_NHd_.rows(0, N), k_NGd = k_NGd_.rows(0, N);
  const Tensor y_NHd = y_NHd_.rows(0, N);
  ops.rms_norm_forward(norm_ND, rstd_N, x_ND, weights.attention_norm.weight, eps_);
  ops.matmul(packed_NP, norm_ND, weights.qkvg.compute, MatmulLayout::NT, false);
  ops.qk_norm_rope_forward(q_NHd, k_NGd, rstd_NJ_.rows(0, N), packed_NP, weights.q_norm.weight,
                           weights.k_norm.weight, rope_Td_, position_N_.rows(0, N), heads_, eps_);
  ops.attention_cached(y_NHd, cache.k_BSGd, cache.v_BSGd, q_NHd, k_NGd, packed_NP, start_B_);
  ops.matmul_add(y_ND, x_ND, y_NHd.reshape({N, D}), weights.out.compute);
}

Tensor Decoder::run_blocks(int64_t count, Ops& ops) {
  const int64_t N = B_ * count;
  const Tensor x_ND = x_ND_.rows(0, N), middle_ND = middle_ND_.rows(0, N);
  MoeSaved moe_saved = moe_saved_.first(N);
  ops.embedding_forward(x_ND, id_N_.rows(0, N), weights_.embedding.compute);
  for (size_t i = 0; i < cache_.size(); ++i) {
    attend(middle_ND, cache_[i], x_ND, weights_.layers[i], ops);
    moe_.forward(x_ND, moe_saved, middle_ND, weights_.layers[i], doc_start_N_.rows(0, N), {}, ops);
  }
  return x_ND;
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
    const Tensor x_BD = run_blocks(1, ops), features_BD = norm_ND_.rows(0, B_);
    ops.rms_norm_forward(features_BD, rstd_N_.rows(0, B_), x_BD, weights_.final_norm.weight, eps_);
    ops.matmul(logits_BV_, features_BD, weights_.embedding.compute, MatmulLayout::NT, false);
    if (dispatcher_ != nullptr) dispatcher_->broadcast(logits_BV_);
  });
  return logits_BV_;
}

}  // namespace moe
