// SPDX-License-Identifier: MIT
// The model for generation: new tokens on top of cached keys and values. Never drops a token. B sequences,
// each of its own length, at most S tokens. A sequence's last token so far goes through next(), which says
// what may follow; those before it through read(), which computes no logits.
#pragma once

#include <memory>
#include <vector>

#include "model/block.h"
#include "model/config.h"
#include "model/head.h"
#include "model/weights.h"
#include "ops/ops.h"
#include "tensor/arena.h"

namespace moe::model {

class Decoder {
 public:
  static constexpr int32_t kNone = -1;  // an id: no token here

  // chunk: the most tokens per sequence in one read(). all_to_all: as Transformer's.
  Decoder(const ModelConfig& config, DType type, int64_t B, int64_t S, int64_t chunk, Weights& weights,
          Arena& arena, AllToAll* all_to_all = nullptr);

  // Once before the first token. step: for the operations of next(), the same ones each time
  // (Ops::captured_region()).
  void prepare(Device& device, std::unique_ptr<CapturedRegion> step);

  // Caches `count` tokens of each sequence (host array [B, count]) at places start, start + 1, ... A sequence
  // that has ended earlier has kNone in the places left: they cost nothing in the experts, and what they
  // leave in the cache is overwritten before anyone sees it. start + count <= S, count <= chunk.
  void read(const int32_t* ids, int64_t count, int64_t start, Device& device, Ops& ops);

  // One token of each sequence (host arrays [B]) at its place < S, on top of those before it. Returns the
  // logits [B, V] of what follows, in the type of the activations; nothing meaningful for kNone.
  Tensor next(const int32_t* ids, const int32_t* places, Device& device, Ops& ops);
  // After next(): the likeliest token of each sequence, i32 [B], of the first `vocabulary` ids without
  // `except` (kNone: of all). Ties go to the lower id.
  Tensor most_likely(int64_t vocabulary, int32_t except, Ops& ops);
  // The same of one drawn by chance. draws: host array [B] of what Sample has as draw_N. What it has as
  // Sample::kNone is that here, too.
  Tensor sample(const int32_t* draws, const SamplingRule& rule, int64_t vocabulary, int32_t except,
                Device& device, Ops& ops);

  int64_t batch() const { return B_; }
  int64_t capacity() const { return S_; }
  int64_t chunk() const { return chunk_; }

 private:
  // `count` tokens of each sequence from its place in starts on.
  void upload(const int32_t* ids, int64_t count, const int32_t* starts, Device& device);
  // The same of one token, in one transfer.
  void upload_next(const int32_t* ids, const int32_t* places, Device& device);
  // The residual stream after all blocks of `count` tokens a sequence, whose first ones' places are start_B.
  Tensor run_blocks(const Tokens& tokens, const Tensor& start_B, int64_t count, Ops& ops);

  ModelSpec spec_;
  int64_t B_, S_, chunk_;
  Weights& weights_;
  AllToAll* all_to_all_;
  std::vector<Block> blocks_;
  Head head_;
  std::unique_ptr<TokenDispatcher> dispatcher_;
  BlockWorkspace workspace_;
  BlockSaved saved_;  // of the block that runs
  std::unique_ptr<CapturedRegion> step_;
  std::vector<KeyValueCache> cache_;
  Tokens tokens_;   // of read()
  Tokens next_;     // of next(): views of next_3B_
  Tensor next_3B_;  // i32: ids, places, first places that are seen, or -1
  Tensor start_B_, features_BD_, rstd_B_, logits_BV_, chosen_B_, draw_B_;
};

}  // namespace moe::model
