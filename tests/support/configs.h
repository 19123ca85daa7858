// SPDX-License-Identifier: MIT
// The small models of tests: one shape, of which a test names what it needs otherwise.
#pragma once

#include <cstdint>

#include "model/config.h"

namespace moe::test {

// What tests change, with the values of tiny_config(). All else of ModelConfig is its default.
struct TinyShape {
  int64_t d_model = 32;
  int64_t n_layers = 2;
  int64_t n_heads = 4;
  int64_t n_kv_heads = 2;
  int64_t num_experts = 4;
  int64_t top_k = 2;
  int64_t expert_intermediate_dim = 24;
  double capacity_factor = 0;
  double aux_loss_weight = 0.001;
  int64_t vocab_size = 96;
  int64_t max_seq_len = 20;
  double init_std = 0.2;
};

inline model::ModelConfig tiny_config(const TinyShape& shape = {}) {
  return {.d_model = shape.d_model,
          .n_layers = shape.n_layers,
          .n_heads = shape.n_heads,
          .n_kv_heads = shape.n_kv_heads,
          .num_experts = shape.num_experts,
          .top_k = shape.top_k,
          .expert_intermediate_dim = shape.expert_intermediate_dim,
          .capacity_factor = shape.capacity_factor,
          .aux_loss_weight = shape.aux_loss_weight,
          .vocab_size = shape.vocab_size,
          .max_seq_len = shape.max_seq_len,
          .init_std = shape.init_std};
}

// For export and import.
inline model::ModelConfig interop_config() {
  return tiny_config({.d_model = 16,
                      .num_experts = 3,
                      .expert_intermediate_dim = 12,
                      .vocab_size = 40,
                      .max_seq_len = 16,
                      .init_std = 0.02});
}

}  // namespace moe::test
