// SPDX-License-Identifier: MIT
// What of a layer is kept from forward to backward, and what is computed again (Chen et al. 2016): memory for time.
#pragma once

#include <cstdint>

namespace moe {

// For one token and layer in bf16 at the full model's sizes:
enum class Recompute : uint8_t {
  none,   // everything is kept: 25 KB
  cheap,  // norms and heads are computed again, no matrix product is: 16 KB
  all,    // only the residual stream and the routes are kept: 5 KB, for a third more products in the blocks
};

}  // namespace moe
