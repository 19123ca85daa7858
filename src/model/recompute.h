// SPDX-License-Identifier: MIT
// Activation recomputation (Chen et al. 2016): which activations of a layer are kept for backward, and which
// are computed again. It trades time for memory.
#pragma once

#include <cstdint>

#include "base/choices.h"

namespace moe::model {

// For one token and layer in bf16 at the full model's sizes:
enum class Recompute : uint8_t {
  none,       // keeps everything: 25 KB
  selective,  // computes norms and heads again, but no matrix product: 16 KB
  full,       // keeps the residual stream and the routes only: 5 KB, for a third more products in the blocks
};
constexpr auto choices_of(Recompute) {
  return choices<Recompute>({{Recompute::none, "none"},
                             {Recompute::selective, "selective", "cheap"},
                             {Recompute::full, "full", "all"}});
}

}  // namespace moe::model
