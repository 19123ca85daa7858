// SPDX-License-Identifier: MIT
// Who watches a run: the record, the terminal, Weights & Biases, TensorBoard, alerts, as the settings say.
#pragma once

#include <cstdint>
#include <memory>

#include "base/terminal.h"
#include "metrics/sink.h"
#include "train/run_config.h"
#include "train/run_folder.h"

namespace moe::train {

// resumed: the folder's run goes on; first_step: the first that it will report. The terminal's lines go to
// the sinks while the object lives.
std::unique_ptr<metrics::Sink> make_observers(const RunConfig& config, const RunFolder& folder, bool resumed,
                                              int64_t first_step, Terminal& terminal);

}  // namespace moe::train
