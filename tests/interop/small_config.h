// SPDX-License-Identifier: MIT
#pragma once

#include "model/config.h"

namespace moe::test {

inline ModelConfig small_config() {
  ModelConfig config;
  config.d_model = 16;
  config.n_layers = 2;
  config.n_heads = 4;
  config.n_kv_heads = 2;
  config.num_experts = 3;
  config.top_k = 2;
  config.expert_intermediate_dim = 12;
  config.vocab_size = 40;
  config.max_seq_len = 16;
  config.capacity_factor = 0;
  return config;
}

}  // namespace moe::test
