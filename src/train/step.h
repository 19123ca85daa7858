// SPDX-License-Identifier: MIT
// One update of the weights: what `moe train` does each step and `moe bench` measures. No data, no files, no
// report.
#pragma once

#include <cstdint>
#include <span>

#include "data/batch.h"
#include "ops/ops.h"
#include "tensor/device.h"
#include "train/state.h"

namespace moe::train {

// What a step has of the schedules. step: steps before it, skipped ones included.
struct StepRates {
  int64_t step = 0;
  double learning_rate = 0, decay_scale = 1;
};

// Forward and backward over the step's micro-batches (at least one, each of the transformer's shape), the
// norm of the gradients, clipping, update. Gradients carry state.loss_scale on the way. The loss is a mean
// over the targets of all of them, on all ranks. Returns without waiting for the device;
// what the row of metrics needs lies in `state` (train/report.h reads it), summed over the ranks. Updated
// weights may still be on their way between ranks (Replicas::finish_parameter_all_gather).
StepTotals run_step(TrainingState& state, const TrainingConfig& training,
                    std::span<const data::Batch> micro_batches, const StepRates& rates, Device& device,
                    Ops& ops);

}  // namespace moe::train
