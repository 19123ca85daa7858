// SPDX-License-Identifier: MIT
#include "train/epochs.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/format.h"

namespace moe::train {
namespace {

constexpr int64_t kNone = std::numeric_limits<int64_t>::max();

}  // namespace

Epochs::Counts Epochs::counts(std::span<const int64_t> epochs) {
  Counts counts;
  counts.fill(kNone);
  std::copy_n(epochs.begin(), std::min(epochs.size(), kMost), counts.begin());
  return counts;
}

Epochs::Counts Epochs::least(const Counts& a, const Counts& b) {
  Counts counts;
  for (size_t i = 0; i < kMost; ++i) counts[i] = std::min(a[i], b[i]);
  return counts;
}

void Epochs::advance(const Counts& now, int64_t step, int64_t tokens, Terminal& terminal) {
  for (size_t i = 0; i < kMost; ++i)
    if (now[i] != kNone && now[i] > now_[i])
      terminal.line(fmt::format("epoch {} of {} begins, at step {}, after {} tokens", now[i] + 1,
                                i < places_.size() ? places_[i] : "the text", step,
                                format_count(static_cast<double>(tokens))));
  now_ = now;
}

int64_t Epochs::complete() const {
  const int64_t least = *std::min_element(now_.begin(), now_.end());
  return least == kNone ? 0 : least;
}

std::vector<int64_t> Epochs::of_places() const {
  std::vector<int64_t> known;
  for (const int64_t count : now_)
    if (count != kNone) known.push_back(count);
  return known;
}

}  // namespace moe::train
