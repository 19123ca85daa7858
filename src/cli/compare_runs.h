// SPDX-License-Identifier: MIT
// The runs of `moe compare`, one after the other in this process: ordinary run folders, trained as `moe
// train` does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/terminal.h"
#include "cli/compare_arms.h"
#include "cli/stop_signal.h"
#include "report/loss_curve.h"
#include "train/run_config.h"

namespace moe::cli {

// Where the run of these settings lies: training.output_dir and training.run_name.
std::filesystem::path folder_of_run(const train::RunConfig& config);

// What the run has done by its record. Throws UserError where a run with other settings lies there.
report::LossCurve curve_of_run(const train::RunConfig& config);

// Trains the run to its end, from where it is. False: a signal ended it, with its state saved. A new run that
// cannot start leaves nothing behind. Throws UserError.
bool train_run(const train::RunConfig& config, const StopSignal& stop, Terminal& terminal);

// Seconds of one step of this arm: a run of up to a minute, a tenth of the budget at most, without
// validations, in a folder that is removed; and again for twice as long while that was fewer than sixteen
// steps and shorter than the budget. The median of its second half: what only the first steps have,
// and what disturbs a few, does not count. 0: a signal came. Throws UserError.
double measure_step_seconds(const Arm& arm, double budget_seconds, const StopSignal& stop,
                            Terminal& terminal);

}  // namespace moe::cli
