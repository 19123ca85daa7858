// SPDX-License-Identifier: MIT
#include "model/flops.h"

#include "model/dense_ffn.h"
#include "model/weights.h"
#include "ops/muon.h"

namespace moe::model {
namespace {

bool is_dense(const Parameter& parameter) {
  return parameter.group == kDenseGroup;
}

}  // namespace

ParameterCount count_parameters(const ModelConfig& config) {
  ParameterCount count;
  for (const Parameter& parameter : ModelParameters(config.spec()).list()) {
    const int64_t n = parameter.weight.numel();
    count.total += n;
    count.active += parameter.role == Role::expert ? n / config.num_experts * config.top_k : n;
    if (parameter.role == Role::expert) count.experts += n;
    if (parameter.role == Role::matrix) (is_dense(parameter) ? count.dense : count.attention) += n;
    if (parameter.role == Role::embedding || parameter.role == Role::head) count.embeddings += n;
  }
  return count;
}

FlopsPerToken flops_per_token(const ModelConfig& config, int64_t T) {
  const ModelSpec spec = config.spec();
  FlopsPerToken flops;
  for (const Parameter& parameter : ModelParameters(spec).list()) {
    // A multiply-add for each weight that the token meets: in forward, and for each of two gradients.
    const double product = 6.0 * static_cast<double>(parameter.weight.numel());
    switch (parameter.role) {
      case Role::matrix:
        (is_dense(parameter) ? flops.dense : flops.projections) += product;
        break;
      case Role::router:
        flops.router += product;
        break;
      case Role::expert:
        flops.experts +=
            product * static_cast<double>(config.top_k) / static_cast<double>(config.num_experts);
        break;
      case Role::embedding:
        if (spec.head.tied) flops.head += product;
        break;
      case Role::head:
        flops.head += product;
        break;
      case Role::norm:
        break;
    }
  }
  for (const LayerSpec& layer : spec.layers) flops.attention += attention_flops(layer.attention, T);
  return flops;
}

double newton_schulz_flops(const ModelConfig& config, int64_t steps) {
  double flops = 0;
  for (const Parameter& parameter : ModelParameters(config.spec()).list())
    for (const int64_t rows : parameter.matrix_rows)
      flops +=
          static_cast<double>(parameter.entries()) * moe::newton_schulz_flops(rows, parameter.width(), steps);
  return flops;
}

}  // namespace moe::model
