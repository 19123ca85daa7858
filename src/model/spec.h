// SPDX-License-Identifier: MIT
// What a model is made of, layer by layer: the description from which parts, parameters, memory, costs and
// file formats follow. ModelConfig::spec() makes it from the settings. Nothing here depends on hardware.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/ops.h"

namespace moe::model {

struct AttentionSpec {
  int64_t width = 0;  // D
  Heads heads;
  int64_t window = 0;  // keys that a token sees, its own included; 0: all before it
  float norm_eps = 0;
};

struct MoeSpec {
  int64_t width = 0;                                // D
  int64_t experts = 0, top_k = 0, inner_width = 0;  // E, K, F
  bool renormalise = true;                          // weights of the chosen experts sum to one
  float balance_weight = 0, z_weight = 0;           // of the router's losses
  RouterScore score = RouterScore::softmax;
  float router_scale = 1;     // of the weights of the chosen experts
  float bias_rate = 0;        // experts are chosen with a bias that moves so much a step; 0: without
  float sequence_weight = 0;  // of the balance loss of each row
  RouterRule rule() const { return {score, renormalise, router_scale}; }
  float norm_eps = 0;
};

struct LayerSpec {
  AttentionSpec attention;
  MoeSpec moe;
};

struct HeadSpec {
  int64_t width = 0, vocab_size = 0;  // D, V
  bool tied = true;                   // the matrix of the logits is the embedding
  float norm_eps = 0;
};

struct ModelSpec {
  std::vector<LayerSpec> layers;
  HeadSpec head;
  double rope_theta = 0, init_std = 0;
  int64_t rope_width() const { return layers.front().attention.heads.dim; }
};

}  // namespace moe::model
