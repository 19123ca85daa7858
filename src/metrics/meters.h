// SPDX-License-Identifier: MIT
// Numbers that are easier to read over time: a smoothed rate and the time left.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace moe::metrics {

double mean(std::span<const double> values);  // of at least one

// Exponential moving average, unbiased from the first value on (the correction of Adam).
class Smoothed {
 public:
  explicit Smoothed(double keep = 0.9) : keep_(keep) {}  // keep: weight of the past, in [0, 1)
  void add(double value);
  std::optional<double> value() const;  // none before the first add

 private:
  double keep_, sum_ = 0, weight_ = 0;
};

// Seconds to the last step, from a smoothed time per step that includes pauses (validation, checkpoints).
class TimeLeft {
 public:
  explicit TimeLeft(int64_t max_steps) : max_steps_(max_steps) {}
  void at(int64_t step, double now);
  std::optional<double> seconds() const;  // none before two steps were seen

 private:
  int64_t max_steps_, step_ = 0;
  std::optional<double> before_;
  Smoothed per_step_{0.95};
};

}  // namespace moe::metrics
