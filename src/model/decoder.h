// SPDX-License-Identifier: MIT
// The model for generation: a few new tokens at a time on top of cached keys and values. Never drops a token.
// B sequences of equal length, at most S tokens each.
#pragma once

#include <vector>

#include "model/config.h"
#include "model/moe.h"
#include "model/weights.h"
#include "ops/ops.h"
#include "tensor/arena.h"

namespace moe {

class Decoder {
 public:
  // chunk: the most new tokens per sequence in one call.
  Decoder(const ModelConfig& config, DType type, int64_t B, int64_t S, int64_t chunk, Weights& weights,
          Arena& arena);

  void prepare(Device& device);

  // Appends `count` tokens to each sequence (host array [B, count]) after the `start` already cached, and
  // returns the logits [B, V] of the last one, in the type of the activations. start + count <= S, count <=
  // chunk.
  Tensor append(const int32_t* ids, int64_t count, int64_t start, Device& device, Ops& ops);

  int64_t capacity() const { return S_; }
  int64_t chunk() const { return chunk_; }

 private:
  struct Cache {
    Tensor k_BSGd, v_BSGd;
  };

  void attend(Tensor y_ND, Cache& cache, const Tensor& x_ND, const Weights::Layer& weights,
              const Tensor& position_N, int64_t start, Ops& ops);

  ModelConfig config_;
  Heads heads_;
  int64_t B_, S_, chunk_;
  float eps_;
  Weights& weights_;
  MoeLayer moe_;
  MoeSaved moe_saved_;
  std::vector<Cache> cache_;
  Tensor id_N_, position_N_, first_N_, rope_Td_;
  Tensor x_ND_, middle_ND_, norm_ND_, rstd_N_, packed_NP_, q_NHd_, k_NGd_, rstd_NJ_, y_NHd_;
  Tensor last_BD_, logits_BV_;
};

}  // namespace moe
