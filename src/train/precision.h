// SPDX-License-Identifier: MIT
// training.mixed_precision: auto. What it becomes is decided once, before a device is made, and is the run's
// setting from then on: a resumed run computes as it began, on whatever machine.
#pragma once

#include <string>

#include "train/run_config.h"

namespace moe::train {

// Where the setting is auto, makes bf16 of it, or no without fast products of bf16. why: whence they are
// known. Returns what to tell the user: "bf16, of auto: AMX multiplies bf16"; "" where the setting names a
// precision.
std::string settle_precision(TrainingConfig& training, bool fast_bf16, const std::string& why);

}  // namespace moe::train
