// SPDX-License-Identifier: MIT
#include "train/stragglers.h"

#include <algorithm>

#include "base/error.h"

namespace moe::train {

Stragglers::Step Stragglers::add(std::span<const double> waited, double seconds) {
  CHECK(waited.size() >= 2);
  const auto [last, first] = std::minmax_element(waited.begin(), waited.end());
  const Step step{last - waited.begin(), *first - *last};
  times_last_.resize(waited.size());
  ++times_last_[static_cast<size_t>(step.slowest)];
  lost_ += step.lost;
  seconds_ += seconds;
  ++steps_;
  return step;
}

std::optional<Stragglers::Verdict> Stragglers::verdict() {
  if (steps_ < kWindow) return std::nullopt;
  const auto most = std::max_element(times_last_.begin(), times_last_.end());
  std::optional<Verdict> verdict;
  if (*most >= kOften * kWindow && lost_ > kLate * seconds_)
    verdict = Verdict{most - times_last_.begin(), lost_ / steps_, seconds_ / steps_};
  *this = {};
  return verdict;
}

}  // namespace moe::train
