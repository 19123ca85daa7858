// SPDX-License-Identifier: MIT
// `moe plan --recipe`: what published laws say of a run's settings, beside what it has.
#pragma once

#include <string>

#include "train/run_config.h"

namespace moe::cli {

// A table, or JSON. tokens: of the whole run; 0: those of the configuration on so many ranks. Throws
// UserError where the configuration trains on none.
std::string recipe_text(train::RunConfig config, int ranks, double tokens, bool json);

}  // namespace moe::cli
