// SPDX-License-Identifier: MIT
// What to change so that a plan fits: settings tried one after the other, with the memory that each leaves.
#pragma once

#include <string>

#include "ops/ops.h"
#include "tensor/device.h"
#include "train/run_config.h"

namespace moe::cli {

// Lines of the plan. free: bytes, of each rank. Settings are added in the order of what they cost: a smaller
// micro-batch nothing but speed, recompute time, bf16 precision, shorter rows what the model sees. Then more
// ranks with expert parallelism.
std::string ways_to_fit(train::RunConfig config, int ranks, double free, Device& device, Ops& ops);

}  // namespace moe::cli
