// SPDX-License-Identifier: MIT
#include "metrics/meters.h"

#include <algorithm>
#include <numeric>

namespace moe::metrics {

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

void Smoothed::add(double value) {
  sum_ = keep_ * sum_ + (1 - keep_) * value;
  weight_ = keep_ * weight_ + (1 - keep_);
}

std::optional<double> Smoothed::value() const {
  return weight_ > 0 ? std::optional(sum_ / weight_) : std::nullopt;
}

void TimeLeft::at(int64_t step, double now) {
  if (before_) {
    if (step <= step_) return;
    per_step_.add((now - *before_) / static_cast<double>(step - step_));
  }
  before_ = now;
  step_ = step;
}

std::optional<double> TimeLeft::seconds() const {
  const auto per_step = per_step_.value();
  if (!per_step) return std::nullopt;
  return *per_step * static_cast<double>(std::max<int64_t>(max_steps_ - step_, 0));
}

}  // namespace moe::metrics
