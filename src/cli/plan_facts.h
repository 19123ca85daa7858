// SPDX-License-Identifier: MIT
// What `moe plan` finds out about a configuration, before it is words; and the same as JSON for programs.
#pragma once

#include <string>
#include <vector>

#include "backend/backend.h"
#include "cli/plan_layouts.h"
#include "model/flops.h"
#include "tensor/arena.h"
#include "train/run_config.h"
#include "train/step_time.h"

namespace moe::cli {

struct PlanFacts {
  // named: the GPU that was asked for; null: this machine. It must outlive the facts. Throws UserError where
  // so many ranks cannot train so.
  PlanFacts(const train::RunConfig& settings, int ranks, const train::GpuRates* named,
            backend::Backend& backend);

  train::RunConfig config;  // with its micro-batches and its last step
  int ranks = 1;
  const train::GpuRates* gpu = nullptr;  // null: not known, or none
  std::string where;                     // the name of that GPU, or what this machine computes on
  double free = 0;                       // bytes that each rank can have
  model::ParameterCount parameters;
  model::FlopsPerToken flops;
  std::vector<PlannedLayout> layouts;  // where there are ranks to lay out or times to predict
  Arena memory;                        // of each rank, counted
  double checkpoint = 0;               // bytes on disk

  int64_t tokens() const;  // of the whole run
  bool fits() const { return static_cast<double>(memory.used()) <= free; }
};

// Counts, bytes and seconds without rounding. moe_plan is the version of this form.
std::string plan_json(const PlanFacts& facts);

}  // namespace moe::cli
