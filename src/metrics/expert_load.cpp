// SPDX-License-Identifier: MIT
#include "metrics/expert_load.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace moe::metrics {

ExpertLoad expert_load(std::span<const int64_t> count) {
  CHECK(!count.empty());
  const auto experts = static_cast<double>(count.size());
  const auto total = static_cast<double>(std::accumulate(count.begin(), count.end(), int64_t{0}));
  ExpertLoad load;
  load.dead_share = static_cast<double>(std::count(count.begin(), count.end(), 0)) / experts;
  if (total == 0) return load;

  const double mean = total / experts;
  double squares = 0, entropy = 0;
  for (const int64_t n : count) {
    const auto x = static_cast<double>(n);
    squares += (x - mean) * (x - mean);
    if (n > 0) entropy -= x / total * std::log(x / total);
  }
  load.entropy = count.size() == 1 ? 1 : entropy / std::log(experts);
  load.cv = std::sqrt(squares / experts) / mean;
  load.max_over_mean = static_cast<double>(*std::max_element(count.begin(), count.end())) / mean;
  return load;
}

}  // namespace moe::metrics
