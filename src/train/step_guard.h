// SPDX-License-Identifier: MIT
// Skips steps whose loss or gradient is a spike (training.spike_sigma; the op spike_guard in
// ops/optimizer.h). The device decides, in the step, so that nothing waits; the host learns of it with the
// step's numbers. All ranks see the same numbers and decide alike.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/ops.h"
#include "tensor/arena.h"
#include "tensor/device.h"

namespace moe::train {

// What a checkpoint keeps of it.
struct StepGuardState {
  std::vector<double> losses, norms;  // of the last steps, the oldest first
  int64_t skipped = 0;                // steps, in the whole run
};

class StepGuard {
 public:
  // sigma: standard deviations above the mean; 0: never. window: steps that are remembered.
  StepGuard(double sigma, int64_t window, Arena& arena);

  // Nothing is remembered yet. Before the first step.
  void clear(Ops& ops) const;
  // Marks scale_1, as the op does.
  void look(const Tensor& scale_1, const Tensor& loss_sum_1, const Tensor& squares_n, int64_t targets,
            float loss_scale, Ops& ops) const;
  // Takes note of a step that was skipped.
  void count() { ++skipped_; }
  int64_t skipped() const { return skipped_; }
  bool enabled() const { return sigma_ > 0; }

  // Waits for the device.
  StepGuardState state(Device& device) const;
  // Of a longer window the newest count.
  void restore(const StepGuardState& state, Device& device);

 private:
  double sigma_;
  int64_t window_, skipped_ = 0;
  Tensor history_2H_, seen_1_;
};

}  // namespace moe::train
