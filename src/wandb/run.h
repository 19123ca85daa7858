// SPDX-License-Identifier: MIT
// Weights & Biases for one run: the sink that the trainer gets. Everything of it happens on other threads.
#pragma once

#include <filesystem>
#include <memory>

#include "base/terminal.h"
#include "metrics/sink.h"
#include "wandb/config.h"
#include "wandb/sink.h"

namespace moe::wandb {

// Null when it is disabled. state: the file that remembers the W&B run (wandb/run_files.h); resumed: go on
// with it.
std::unique_ptr<metrics::Sink> open_run(const Settings& settings, const std::filesystem::path& state,
                                        bool resumed, const RunInfo& info, Terminal& terminal);

}  // namespace moe::wandb
