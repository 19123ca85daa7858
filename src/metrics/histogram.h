// SPDX-License-Identifier: MIT
// Lists of numbers as histograms, for sinks that draw one a step as a heat map over time: a whole
// layer-by-expert table would be a thousand curves there. The lists themselves are in the record
// (metrics/jsonl.h).
#pragma once

#include <vector>

namespace moe::metrics {

struct Histogram {
  std::vector<double> edges;  // one more than weights, ascending
  std::vector<double> weights;
};

// One bar for each element: bar i covers [i, i + 1) and its weight is the value; what is not finite or below
// 0 is 0.
Histogram profile(const std::vector<double>& values);

// How the experts' loads are spread: count / (mean of its layer) over all layers and experts, in 32 bars of
// 1/8; the last one takes all from 31/8 up. A layer without assignments counts as zeros.
Histogram load_histogram(const std::vector<std::vector<double>>& counts);

}  // namespace moe::metrics
