// SPDX-License-Identifier: MIT
// training.mixed_precision: auto, for the commands that read settings. Each settles it as soon as it has read
// them; what computes refuses auto (train/state.h).
#pragma once

#include <string>

#include "backend/backend.h"
#include "train/run_config.h"

namespace moe::cli {

// For a device of this kind, or for the one of training.device. Returns words for the user
// (train/precision.h); "" where the setting was not auto.
std::string settle_precision(train::RunConfig& config, DeviceKind device);
std::string settle_precision(train::RunConfig& config);

}  // namespace moe::cli
