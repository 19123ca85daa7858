// SPDX-License-Identifier: MIT
#include "metrics/histogram.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace moe::metrics {

Histogram profile(const std::vector<double>& values) {
  Histogram histogram;
  histogram.edges.resize(values.size() + 1);
  std::iota(histogram.edges.begin(), histogram.edges.end(), 0.0);
  for (const double value : values)
    histogram.weights.push_back(std::isfinite(value) ? std::max(value, 0.0) : 0.0);
  return histogram;
}

Histogram load_histogram(const std::vector<std::vector<double>>& counts) {
  constexpr size_t kBars = 32;
  constexpr double kWidth = 0.125;
  Histogram histogram;
  for (size_t i = 0; i <= kBars; ++i) histogram.edges.push_back(kWidth * static_cast<double>(i));
  histogram.weights.resize(kBars);
  for (const auto& layer : counts) {
    const double total = std::accumulate(layer.begin(), layer.end(), 0.0);
    for (const double count : layer) {
      const double load = total > 0 ? count * static_cast<double>(layer.size()) / total : 0.0;
      const auto bar = static_cast<size_t>(std::clamp(load / kWidth, 0.0, static_cast<double>(kBars - 1)));
      histogram.weights[bar] += 1;
    }
  }
  return histogram;
}

}  // namespace moe::metrics
