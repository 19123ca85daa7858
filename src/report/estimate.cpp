// SPDX-License-Identifier: MIT
#include "report/estimate.h"

#include <cmath>
#include <numbers>
#include <numeric>

#include "base/error.h"

namespace moe::report {
namespace {

// The probability of [-t, t].
double within(double t, int64_t freedom) {
  const double angle = std::atan(t / std::sqrt(static_cast<double>(freedom)));
  const double square = std::cos(angle) * std::cos(angle);
  const bool odd = freedom % 2 == 1;
  double term = odd ? std::cos(angle) : 1, sum = 0;
  for (int64_t k = odd ? 1 : 0; k <= freedom - 2; k += 2) {
    sum += term;
    term *= square * static_cast<double>(k + 1) / static_cast<double>(k + 2);
  }
  return odd ? 2 / std::numbers::pi * (angle + std::sin(angle) * sum) : std::sin(angle) * sum;
}

}  // namespace

double student_t(double probability, int64_t freedom) {
  CHECK(probability >= 0 && probability < 1 && freedom >= 1);
  double low = 0, high = 1;
  while (within(high, freedom) < probability) high *= 2;
  while (high - low > 1e-10 * high) {
    const double middle = (low + high) / 2;
    (within(middle, freedom) < probability ? low : high) = middle;
  }
  return high;
}

Estimate estimate(std::span<const double> values) {
  constexpr double kProbability = 0.95;
  Estimate result{.n = std::ssize(values), .mean = 0, .spread = {}};
  if (values.empty()) return result;
  const auto n = static_cast<double>(values.size());
  result.mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  if (values.size() == 1) return result;
  double squares = 0;
  for (const double value : values) squares += (value - result.mean) * (value - result.mean);
  const double error = std::sqrt(squares / (n - 1) / n);
  const double reach = error * student_t(kProbability, result.n - 1);
  result.spread = {.error = error, .low = result.mean - reach, .high = result.mean + reach};
  return result;
}

}  // namespace moe::report
