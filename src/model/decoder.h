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

  int64_t batch() const { return B_; }
  int64_t capacity() const { return S_; }
  int64_t chunk() const { return chunk_; }

 private:
  void upload(const int32_t* ids, int64_t count, const int32_t* starts, Device& device);
  // The residual stream of `count` tokens a sequence after all blocks.
  Tensor run_blocks(int64_t count, Ops& ops);

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
  Tokens tokens_;
  Tensor start_B_, features_BD_, rstd_B_, logits_BV_;
};

}  // namespace moe::model
