// SPDX-License-Identifier: MIT
// Gradients by finite differences: the scalar <outputs, r> for fixed random r is differentiated with respect
// to one input, element by element, and held against what the backward op gives for output gradients r.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <functional>
#include <string_view>
#include <vector>

#include "support/compare.h"
#include "support/fixture.h"

namespace moe::test {

// sum_i x[i] * r[i] in double.
inline double inner(Machine& machine, const Tensor& x, const Tensor& r) {
  const auto a = machine.values(x), b = machine.values(r);
  EXPECT_EQ(a.size(), b.size());
  double sum = 0;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// d scalar() / d input by the five-point central difference (error O(step^4), so that the step can be large
// against f32 rounding). scalar runs the forward op and reads `input` from the machine; input is f32 and
// restored.
inline std::vector<double> finite_difference(Machine& machine, Tensor input,
                                             const std::function<double()>& scalar, double step = 0.03) {
  const auto original = machine.values(input);
  auto moved = original;
  const auto at = [&](size_t i, double offset) {
    // The distance that f32 really moves is what counts.
    moved[i] = static_cast<double>(static_cast<float>(original[i] + offset));
    machine.set(input, moved);
    const double value = scalar();
    moved[i] = original[i];
    return value;
  };
  std::vector<double> gradient(original.size());
  for (size_t i = 0; i < original.size(); ++i)
    gradient[i] = (8 * (at(i, step) - at(i, -step)) - (at(i, 2 * step) - at(i, -2 * step))) / (12 * step);
  machine.set(input, original);
  return gradient;
}

// Relative error (root of the normalised error) of `gradient` against finite differences is below 1e-3: f32
// forward values carry 1e-7 relative, divided by the step 0.03; the stencil's own error is about step^4 =
// 1e-6.
inline testing::AssertionResult gradient_agrees(Machine& machine, const Tensor& gradient, Tensor input,
                                                const std::function<double()>& scalar, double step = 0.03,
                                                double relative = 1e-3) {
  const auto expected = finite_difference(machine, input, scalar, step);
  return close(machine.values(gradient), expected, relative * relative);
}

// The same along one random direction u, for inputs with too many elements: <gradient, u> against the change
// of scalar() when input moves by step * u.
inline testing::AssertionResult gradient_agrees_along(Machine& machine, std::string_view name,
                                                      const Tensor& gradient, Tensor input,
                                                      const std::function<double()>& scalar,
                                                      double step = 0.003, double relative = 1e-3) {
  const auto original = machine.values(input), slope = machine.values(gradient);
  const Random random(2, name);
  std::vector<double> direction(original.size());
  double expected = 0;
  for (size_t i = 0; i < direction.size(); ++i) {
    // Signed like the gradient, so that the sum does not cancel.
    direction[i] = std::copysign(random.uniform(i), slope[i]);
    expected += slope[i] * direction[i];
  }
  const auto at = [&](double offset) {
    auto moved = original;
    for (size_t i = 0; i < moved.size(); ++i) moved[i] += offset * direction[i];
    machine.set(input, moved);
    return scalar();
  };
  const double change = (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step);
  machine.set(input, original);
  if (std::abs(change - expected) <= relative * std::abs(change)) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "slope " << expected << " along a direction, finite difference "
                                     << change;
}

}  // namespace moe::test
