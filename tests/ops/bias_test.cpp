// SPDX-License-Identifier: MIT
// The bias of a product: rows of it, bit for bit, and sums of columns.
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/compare.h"
#include "support/golden.h"

namespace moe::test {
namespace {

class BiasTest : public OpsTest {};

// Widths that vectors of 16 bytes divide, and odd ones; more rows than a grid is high.
constexpr std::pair<int64_t, int64_t> kShapes[] = {{1, 1}, {3, 7}, {33, 40}, {70, 1032}, {700, 3}};

TEST_F(BiasTest, ForwardWritesTheBiasToEachRow) {
  for (const DType type : kActivations)
    for (const auto& [n, width] : kShapes) {
      const Tensor bias = normal("bias", DType::f32, {width}), y = normal("y", type, {n, width});
      ops().bias_forward({y, bias});
      const auto found = values(y), rounded = values(of(type, {width}, values(bias)));
      for (size_t i = 0; i < found.size(); ++i)
        ASSERT_EQ(found[i], rounded[i % static_cast<size_t>(width)]) << n << " x " << width << ": " << i;
    }
}

TEST_F(BiasTest, BackwardAddsTheSumsOfColumns) {
  for (const DType type : kActivations)
    for (const auto& [n, width] : kShapes) {
      const Tensor dy = normal("dy", type, {n, width}), sum = normal("sum", DType::f32, {width});
      auto expected = values(sum);
      const auto gradient = values(dy);
      for (size_t i = 0; i < gradient.size(); ++i) expected[i % static_cast<size_t>(width)] += gradient[i];
      ops().bias_backward({sum, dy});
      EXPECT_TRUE(close(values(sum), expected, kBoundF32)) << n << " x " << width;
    }
}

// A product that adds to a bias is rounded once: in 16 bits it is the rounded sum of both.
TEST_F(BiasTest, AProductAddsToIt) {
  for (const DType type : kActivations) {
    const Tensor a = normal("a", type, {37, 16}), b = normal("b", type, {24, 16});
    const Tensor bias = normal("bias", type, {24}), c = zeros(type, {37, 24});
    ops().bias_forward({c, of(DType::f32, {24}, values(bias))});
    ops().matmul(c, a, b, MatmulLayout::NT, true);
    const auto x = values(a), w = values(b), add = values(bias);
    std::vector<double> expected(37 * 24);
    for (size_t i = 0; i < expected.size(); ++i) {
      expected[i] = add[i % 24];
      for (size_t k = 0; k < 16; ++k) expected[i] += x[i / 24 * 16 + k] * w[i % 24 * 16 + k];
    }
    EXPECT_TRUE(close(values(c), expected, bound_of(type)));
  }
}

TEST_F(BiasTest, SameBitsWithAnyNumberOfThreads) {
  expect_same_bits([](Machine& machine) {
    const Tensor sum = machine.zeros(DType::f32, {200});
    machine.ops().bias_backward({sum, machine.normal("dy", DType::bf16, {300, 200})});
    return std::vector{sum};
  });
}

TEST_F(BiasTest, WrongShapesAreRefused) {
  const Tensor y = zeros(DType::f32, {4, 6}), bias = zeros(DType::f32, {5});
  EXPECT_THROW(ops().bias_forward({y, bias}), InternalError);
  EXPECT_THROW(ops().bias_backward({bias, y}), InternalError);
}

}  // namespace
}  // namespace moe::test
