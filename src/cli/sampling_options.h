// SPDX-License-Identifier: MIT
// How the next token is chosen, as options of the commands that write text.
#pragma once

#include <CLI/CLI.hpp>

#include "generate/sampling.h"

namespace moe::cli {

// The values of `sampling` are the defaults.
void add_sampling(CLI::App& command, generate::SamplingOptions& sampling);

}  // namespace moe::cli
