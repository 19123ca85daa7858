// SPDX-License-Identifier: MIT
// The layouts of ranks side by side, for `moe plan`: what each rank needs, how long a step takes by
// prediction, and why one is taken. As facts, and as words.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ops/ops.h"
#include "tensor/device.h"
#include "train/run_config.h"
#include "train/step_time.h"

namespace moe::cli {

struct PlannedLayout {
  std::string name;  // "expert (8 share)"
  train::RunConfig config;
  bool chosen = false;  // by distributed.layout
  std::string trouble;  // why so many ranks cannot have it; else ""
  double memory = 0;    // bytes of each rank
  std::optional<train::StepTime> time;
};

// gpu: null where its rates are not known; then there are no times. One rank has one layout. Throws UserError
// where so many ranks cannot have the layout that is set.
std::vector<PlannedLayout> plan_layouts(const train::RunConfig& config, int ranks, const train::GpuRates* gpu,
                                        Device& device, Ops& ops);
// list: those of config.
std::string layouts_table(const std::vector<PlannedLayout>& list, const train::RunConfig& config, int ranks,
                          const train::GpuRates* gpu);

}  // namespace moe::cli
