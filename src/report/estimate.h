// SPDX-License-Identifier: MIT
// A mean of few values and how sure it is.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace moe::report {

// Of n values: the mean, its standard error s / sqrt(n) (s with n - 1), and the interval of Student's t with
// n - 1 degrees of freedom, which holds the true mean of normal values with a probability of 95 %. Of one
// value only the mean is known, of none nothing.
struct Estimate {
  struct Spread {
    double error = 0, low = 0, high = 0;
  };
  int64_t n = 0;
  double mean = 0;
  std::optional<Spread> spread;
};

Estimate estimate(std::span<const double> values);

// The t for which a variable of Student's distribution lies in [-t, t] with this probability, to 1e-9 of t.
// probability: in [0, 1). freedom: at least 1. The distribution is the finite sum of Abramowitz and Stegun,
// 26.7.3 and 26.7.4.
double student_t(double probability, int64_t freedom);

}  // namespace moe::report
