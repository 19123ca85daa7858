// SPDX-License-Identifier: MIT
// How evenly a layer's router spreads its assignments over the experts.
#pragma once

#include <cstdint>
#include <span>

namespace moe::metrics {

struct ExpertLoad {
  double entropy = 0;        // -sum p ln p / ln E, p = count / sum: 1 is even, 0 is one expert alone
  double cv = 0;             // standard deviation / mean of the counts (over E, not E - 1): 0 is even
  double max_over_mean = 0;  // largest count / mean: 1 is even, E is one expert alone
  double dead_share = 0;     // experts without any assignment / E
};

// count: assignments asked for, per expert, the dropped ones included (RoutePlan::count_E). No assignments at
// all: all values are 0 but dead_share, which is 1. E = 1: entropy is 1.
ExpertLoad expert_load(std::span<const int64_t> count);

}  // namespace moe::metrics
