// SPDX-License-Identifier: MIT
// How big the model is and how much arithmetic a token costs: for `moe plan` and for utilisation figures.
#pragma once

#include <cstdint>

#include "model/config.h"

namespace moe::model {

struct ParameterCount {
  int64_t total = 0;
  int64_t active = 0;  // what one token meets: K experts of E; a tied embedding counted once
  int64_t experts = 0, attention = 0, dense = 0;  // of the total: their matrices
  int64_t embeddings = 0;  // of the total, and of the active: the embedding and an untied head
};

ParameterCount count_parameters(const ModelConfig& config);

// Floating-point operations for one token, forward and backward (3x forward; a multiply-add is 2), of the
// matrix products and of causal attention over T tokens (half of T x T). Norms and other elementwise work not
// counted.
struct FlopsPerToken {
  // dense: shared experts and dense layers
  double projections = 0, attention = 0, router = 0, experts = 0, dense = 0, head = 0;
  double total() const { return projections + attention + router + experts + dense + head; }
};

FlopsPerToken flops_per_token(const ModelConfig& config, int64_t T);

// Of one step of Muon (ops/muon.h) on all matrices of attention, experts and dense layers.
double newton_schulz_flops(const ModelConfig& config, int64_t steps);

}  // namespace moe::model
