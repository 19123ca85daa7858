// SPDX-License-Identifier: MIT
// Distances between what an op gave and what it should have given, with a message that shows where they part.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <limits>

#include "tensor/dtype.h"

namespace moe::test {

// Bounds of ops/ops.h: normalised mean squared error against exact arithmetic.
inline constexpr double kBoundF32 = 1e-11;
inline constexpr double kBoundBf16 = 1e-5;
inline constexpr double kBoundF16 = 1.6e-7;
inline constexpr double kBoundTf32 = 2e-6;  // of a product of f32 whose operands may be cut off to TF32
// Of one rounding to this type of activations.
constexpr double bound_of(DType dtype) {
  return dtype == DType::f32 ? kBoundF32 : dtype == DType::bf16 ? kBoundBf16 : kBoundF16;
}

// sum (actual - expected)^2 / sum expected^2; infinite when sizes differ or anything is not finite.
template <class Actual, class Expected>
double normalised_error(const Actual& actual, const Expected& expected) {
  if (std::size(actual) != std::size(expected)) return std::numeric_limits<double>::infinity();
  double error = 0, size = 0;
  for (size_t i = 0; i < std::size(actual); ++i) {
    const double a = static_cast<double>(actual[i]), e = static_cast<double>(expected[i]);
    if (!std::isfinite(a) || !std::isfinite(e)) return std::numeric_limits<double>::infinity();
    error += (a - e) * (a - e);
    size += e * e;
  }
  if (size == 0) return error == 0 ? 0 : std::numeric_limits<double>::infinity();
  return error / size;
}

// EXPECT_TRUE(close(values(y), expected, kBoundF32)): on failure names the error and the worst element.
template <class Actual, class Expected>
testing::AssertionResult close(const Actual& actual, const Expected& expected, double bound) {
  const double error = normalised_error(actual, expected);
  if (error <= bound) return testing::AssertionSuccess();
  auto failure = testing::AssertionFailure();
  failure << "normalised error " << error << " > " << bound;
  if (std::size(actual) != std::size(expected))
    return failure << "; " << std::size(actual) << " values, expected " << std::size(expected);
  size_t worst = 0;
  double worst_error = -1;
  for (size_t i = 0; i < std::size(actual); ++i) {
    const double e = std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i]));
    if (e > worst_error || std::isnan(e)) worst = i, worst_error = e;
    if (std::isnan(e)) break;
  }
  if (worst_error < 0) return failure;
  return failure << "; worst at [" << worst << "]: " << +actual[worst] << ", expected " << +expected[worst];
}

}  // namespace moe::test
