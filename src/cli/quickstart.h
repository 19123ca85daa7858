// SPDX-License-Identifier: MIT
// The text that the quickstart learns from: a dictionary of the system's, which not every system has.
#pragma once

#include "train/run_config.h"

namespace moe::cli {

inline constexpr const char* kQuickstart = "quickstart";  // the preset

// Throws UserError where that dictionary is to be read and is not there, with the package that has it.
void expect_dictionary(const train::RunConfig& config);

}  // namespace moe::cli
