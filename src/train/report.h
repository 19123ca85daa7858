// SPDX-License-Identifier: MIT
// From what a step left on the device to the row that describes it. docs/metrics.md lists the names.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/source.h"
#include "metrics/row.h"
#include "model/transformer.h"
#include "tasks/task_set.h"
#include "tensor/device.h"
#include "train/evaluate.h"
#include "train/loss_scale.h"
#include "train/start_times.h"
#include "train/stragglers.h"

namespace moe::train {

// A step's sums on the host.
struct StepResult {
  double loss = 0;           // nats per token
  double gradient_norm = 0;  // before clipping
  double clip_scale = 1;     // -1: not finite, nothing was updated
  bool spike = false;        // nothing was updated either (train/step_guard.h)
  double loss_scale = 1;     // that the gradients carried; it is divided out of the norms and of clip_scale
  std::vector<double> group_norm;
  std::vector<double> balance_loss, z_loss;  // by layer: means over micro-batches, or over the step's tokens
  std::vector<double> sequence_loss;         // likewise; empty without such a loss
  std::vector<std::vector<double>> expert_count;  // [L][E], assignments asked for
  std::vector<double> dropped_share;              // by layer
  // In FP8 training: of this rank's last micro-batch, at each of model::kFp8Sites.
  struct Fp8Site {
    double largest = 0, flushed_share = 0, saturated_share = 0;
  };
  std::vector<Fp8Site> fp8;

  bool finite() const;
};

StepResult read_step(const model::StepSums& sums, const model::Fp8Census& census, const Tensor& squares_g,
                     const Tensor& clip_scale_1, double loss_scale, int64_t targets, int64_t micro_batches,
                     Device& device);

// What is trained on what, for who compares runs.
struct Hardware {
  std::string device;  // of rank 0, and how many ranks there are where they are several
  int64_t parameters = 0, active_parameters = 0;
};

// What else is known about the step.
struct StepContext {
  int64_t step = 0;  // steps done, this one included
  double learning_rate = 0;
  int64_t tokens = 0;  // targets learnt from since the beginning
  double tokens_per_second = 0, step_seconds = 0, data_wait_seconds = 0;
  int64_t data_queue = 0;  // batches ready when the step began
  double data_padding_share = 0;
  int64_t data_stage = 1;
  int64_t data_epoch = 0;       // passes over all of the text, complete before the step
  std::vector<int64_t> epochs;  // of each place of a mixture
  int64_t data_text_bytes = 0;
  data::NetworkCounts network;
  int64_t memory_bytes = 0;  // the arena
  const LossScale* loss_scale = nullptr;
  std::optional<int64_t> micro_batches;  // of the step, where that changes
  std::optional<int64_t> spikes;         // steps skipped as such so far, where they are looked for
  // Of the arena, by category; null but for the first row that a process writes.
  const std::vector<std::pair<std::string, int64_t>>* memory_table = nullptr;
  const StartTimes::Parts* start = nullptr;  // likewise: seconds from the start of the process
  std::optional<Hardware> hardware;          // likewise
  double flops_per_token = 0;
  std::optional<double> peak_flops;                // of the device, where it is known
  std::map<std::string, double> phase_seconds;     // host's time since the row before, by phase
  std::optional<double> checkpoint_write_seconds;  // of one that became whole since the row before
  std::optional<Stragglers::Step> stragglers;      // of the step before; with several ranks
  const std::vector<std::string>* groups = nullptr;
};

metrics::Row training_row(const StepResult& result, const StepContext& context);
metrics::Row tasks_row(const std::vector<tasks::TaskSet::Measured>& measured, int64_t step, int64_t tokens);
metrics::Row validation_row(const Evaluation& evaluation, int64_t step, int64_t tokens);

}  // namespace moe::train
