// SPDX-License-Identifier: MIT
#include "model/flops.h"

#include "ops/ops.h"

namespace moe {

ParameterCount count_parameters(const ModelConfig& config) {
  const int64_t D = config.d_model, d = config.head_dim(), E = config.num_experts;
  const int64_t P = Heads{config.n_heads, config.n_kv_heads, d}.packed();
  const int64_t expert = 3 * D * config.expert_intermediate_dim;
  const int64_t shared = P * D + D * D + 2 * d + 2 * D + E * D;  // of one layer: all but the experts
  const int64_t ends = config.vocab_size * D + D;
  return {.total = ends + config.n_layers * (shared + E * expert),
          .active = ends + config.n_layers * (shared + config.top_k * expert)};
}

FlopsPerToken flops_per_token(const ModelConfig& config, int64_t T) {
  const auto D = static_cast<double>(config.d_model), L = static_cast<double>(config.n_layers);
  const auto P = static_cast<double>(Heads{config.n_heads, config.n_kv_heads, config.head_dim()}.packed());
  const auto F = static_cast<double>(config.expert_intermediate_dim), K = static_cast<double>(config.top_k);
  const double product = 6.0;  // 2 for forward, 4 for the two gradients, for each weight met
  return {.projections = product * L * (P * D + D * D),
          .attention = product * L * D * static_cast<double>(T),  // two products of T/2 x D each way
          .router = product * L * D * static_cast<double>(config.num_experts),
          .experts = product * L * K * 3.0 * D * F,
          .head = product * D * static_cast<double>(config.vocab_size)};
}

}  // namespace moe
