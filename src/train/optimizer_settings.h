// SPDX-License-Identifier: MIT
// The settings of section "training" that say how weights are updated, and in which types.
#pragma once

#include "base/fields.h"
#include "train/run_config.h"

namespace moe::train {

void describe_optimizer(TrainingConfig& c, Fields& fields);

}  // namespace moe::train
