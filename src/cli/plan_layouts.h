// SPDX-License-Identifier: MIT
// The layouts of ranks side by side, for `moe plan`: what each rank needs, how long a step takes by
// prediction, and why one is taken.
#pragma once

#include <string>

#include "ops/ops.h"
#include "tensor/device.h"
#include "train/run_config.h"
#include "train/step_time.h"

namespace moe::cli {

// gpu: null where its rates are not known; then there are no times. Throws UserError where so many ranks
// cannot have the layout that is set.
std::string layouts_table(const train::RunConfig& config, int ranks, const train::GpuRates* gpu,
                          Device& device, Ops& ops);

}  // namespace moe::cli
