// SPDX-License-Identifier: MIT
// moe bench --part moe-layer: the expert half of one block alone, from its norm to the combined output.
#pragma once

#include <cstdint>

#include "train/run_config.h"

namespace moe::cli {

// tokens: of one pass. repeats: measured passes. Prints a table, or one JSON object.
void bench_moe_layer(const train::RunConfig& config, int64_t tokens, int64_t repeats, bool json);

}  // namespace moe::cli
