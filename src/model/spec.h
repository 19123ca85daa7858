// SPDX-License-Identifier: MIT
// What a model is made of, layer by layer: the description from which parts, parameters, memory, costs and
// file formats follow. ModelConfig::spec() makes it from the settings. Nothing here depends on hardware.
#pragma once

#include <cstdint>
#include <vector>

#include "model/rope.h"
#include "ops/ops.h"

namespace moe::model {

struct AttentionSpec {
  int64_t width = 0;  // D
  Heads heads;
  int64_t window = 0;  // keys that a token sees, its own included; 0: all before it
  float norm_eps = 0, qk_norm_eps = 0;
  bool bias = false;  // of the packed projection
  bool fp8 = false;   // the projections read FP8, but for gradients of weights
};

// A dense SwiGLU. F = 0: there is none.
struct FfnSpec {
  int64_t width = 0, inner_width = 0;  // D, F
};

struct MoeSpec {
  int64_t width = 0;                                // D
  int64_t experts = 0, top_k = 0, inner_width = 0;  // E, K, F
  bool renormalise = true;                          // weights of the chosen experts sum to one
  float balance_weight = 0, z_weight = 0;           // of the router's losses
  RouterScore score = RouterScore::softmax;
  float router_scale = 1;     // of the weights of the chosen experts
  bool biased = false;        // experts are chosen with a bias
  float sequence_weight = 0;  // of the balance loss of each row
  RouterRule rule() const { return {score, renormalise, router_scale}; }
  float norm_eps = 0;
  FfnSpec shared = {};      // the expert that each token goes to
  bool shared_gate = true;  // its result is multiplied by sigmoid(x w)
  bool fp8 = false;         // the experts' products by token read FP8
  bool has_shared() const { return shared.inner_width > 0; }
};

struct DenseSpec {
  FfnSpec ffn;
  float norm_eps = 0;
};

// Behind attention, a layer has experts or a dense SwiGLU.
struct LayerSpec {
  AttentionSpec attention;
  MoeSpec moe = {};
  DenseSpec dense = {};
  bool has_experts() const { return moe.experts > 0; }
  bool is_dense() const { return dense.ffn.inner_width > 0; }
  bool has_ffn() const { return is_dense() || moe.has_shared(); }
};

struct HeadSpec {
  int64_t width = 0, vocab_size = 0;  // D, V
  bool tied = true;                   // the matrix of the logits is the embedding
  float norm_eps = 0;
  float logit_scale = 1;  // logits are so many times the product
  bool fp8 = false;       // as of attention
};

struct ModelSpec {
  std::vector<LayerSpec> layers;  // dense ones come first
  HeadSpec head;
  RopeSpec rope;
  float embedding_scale = 1;  // the stream begins with so many times the rows of the embedding
  double init_std = 0;
  // Of the layers with experts; without experts where there is none.
  const MoeSpec& moe() const { return layers.back().moe; }
  // With all parts that any layer has: of memory that serves each layer in turn.
  LayerSpec all_parts() const {
    LayerSpec all{layers.front().attention, moe(), layers.front().dense};
    for (const LayerSpec& layer : layers) {
      all.attention.fp8 = all.attention.fp8 || layer.attention.fp8;
      all.moe.fp8 = all.moe.fp8 || layer.moe.fp8;
    }
    return all;
  }
  int64_t dense_layers() const {
    int64_t count = 0;
    for (const LayerSpec& layer : layers) count += layer.is_dense() ? 1 : 0;
    return count;
  }
};

}  // namespace moe::model
