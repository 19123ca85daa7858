// SPDX-License-Identifier: MIT
// fill, copy, cast, add and the logistic function, at sizes around the pieces they are cut into.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/random.h"
#include "support/fixture.h"

namespace moe::test {
namespace {

class ElementwiseTest : public OpsTest {};

TEST_F(ElementwiseTest, FillsEveryType) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16, DType::f64, DType::i32, DType::u8})
    for (const int64_t n : {1, 7, 33, 70000}) {
      const Tensor x = zeros(dtype, {n});
      ops().fill(x, 3);
      EXPECT_EQ(values(x), std::vector<double>(static_cast<size_t>(n), 3.0));
    }
}

// So many numbers that several lie where the functions of a GPU could round them to another f32.
TEST_F(ElementwiseTest, NormalsHaveTheHostsBits) {
  const Random random(7, 11);
  const uint64_t first = (uint64_t{1} << 32) - 1000;  // the counter has two words
  const int64_t many = test_device() == "gpu" ? 1 << 22 : 1 << 16;
  for (const int64_t n : {int64_t{1}, int64_t{300}, many}) {
    const Tensor x = zeros(DType::f32, {n}), half = zeros(DType::bf16, {n});
    ops().fill_normal({.x = x, .std = 0.02F, .seed = 7, .stream = 11, .first = first});
    ops().fill_normal({.x = half, .std = 0.02F, .seed = 7, .stream = 11, .first = first});
    const auto got = values(x), rounded = values(half);
    for (size_t i = 0; i < got.size(); ++i) {
      const float expected = 0.02F * random.normal(first + i);
      ASSERT_EQ(got[i], expected) << i;
      ASSERT_EQ(rounded[i], static_cast<float>(bf16(expected))) << i;
    }
  }
}

TEST_F(ElementwiseTest, CopiesBytesUnderAnyShape) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16, DType::i32, DType::u8})
    for (const int64_t n : {1, 33, 300000}) {
      const Tensor x = normal("x", dtype, {n, 3}, 40), y = zeros(dtype, {3, n});
      ops().copy(y, x);
      EXPECT_EQ(bytes(y), bytes(x));
    }
}

// The host's own conversions (tests/base/bf16_test.cpp, f16_test.cpp) say what is right.
TEST_F(ElementwiseTest, CastsRoundToNearestEven) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  std::vector<float> input = {0,    -0.0F, 1,        1.00390625F, 1.01171875F, 3.4e38F, 1e-45F,  inf,
                              -inf, nan,   65519.0F, 65520.0F,    6.1e-5F,     1.3e-6F, 2.9e-8F, 3.0e-8F};
  while (input.size() < 70001) input.push_back(static_cast<float>(input.size()) * 1.0001F);
  const auto n = static_cast<int64_t>(input.size());
  const Tensor x = of(DType::f32, {n}, input), back = zeros(DType::f32, {n});
  for (const DType dtype : kHalves) {
    const Tensor y = zeros(dtype, {n});
    ops().cast(y, x);
    ops().cast(back, y);
    const auto got = values(back);
    for (size_t i = 0; i < input.size(); ++i) {
      const float value = input[i];
      const double expected =
          dtype == DType::bf16 ? static_cast<float>(bf16(value)) : static_cast<float>(f16(value));
      if (std::isnan(expected))
        EXPECT_TRUE(std::isnan(got[i]));
      else
        ASSERT_EQ(got[i], expected) << i;
    }
  }
  const Tensor same = zeros(DType::f32, {n});
  ops().cast(same, x);
  EXPECT_EQ(bytes(same), bytes(x));
}

TEST_F(ElementwiseTest, AddAccumulates) {
  const Tensor sum = of(DType::f32, {3}, std::vector<double>{1, 2.5, -4});
  ops().add(sum, of(DType::f32, {3}, std::vector<double>{0.5, -2.5, 1}));
  EXPECT_EQ(values(sum), (std::vector<double>{1.5, 0, -3}));
  ops().add(sum, of(DType::f32, {3}, std::vector<double>{4, -8, 1}), 0.25F);
  EXPECT_EQ(values(sum), (std::vector<double>{2.5, -2, -2.75}));
  const Tensor count = of(DType::i32, {2}, std::vector<double>{7, -1});
  ops().add(count, of(DType::i32, {2}, std::vector<double>{16777217, 1}));  // beyond what f32 can count
  EXPECT_EQ(values(count), (std::vector<double>{16777224, 0}));
}

TEST_F(ElementwiseTest, AddsToARowThatBeginsAnywhere) {
  const Tensor sums = zeros(DType::i32, {3, 5});
  ops().add(sums.rows(1, 2), of(DType::i32, {5}, std::vector<double>{1, 2, 3, 4, 5}));
  EXPECT_EQ(values(sums), (std::vector<double>{0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 0, 0, 0, 0, 0}));
}

TEST_F(ElementwiseTest, AverageMovesByItsShare) {
  const Tensor y = of(DType::f32, {3}, std::vector<double>{1, 2, -4});
  ops().average(y, of(DType::f32, {3}, std::vector<double>{5, 2, 0}), 0.25F);
  EXPECT_EQ(values(y), (std::vector<double>{2, 2, -3}));
}

// A shard that ends anywhere has the bits of the whole.
TEST_F(ElementwiseTest, AverageDoesNotDependOnWhereATensorIsCut) {
  const int64_t n = 1000;
  const Tensor whole = normal("y", DType::f32, {n}), parts = normal("y", DType::f32, {n});
  const Tensor x = normal("x", DType::f32, {n});
  ops().average(whole, x, 0.3F);
  for (const auto& [begin, end] : {std::pair{0, 7}, {7, 256}, {256, 777}, {777, 1000}})
    ops().average(parts.rows(begin, end), x.rows(begin, end), 0.3F);
  EXPECT_EQ(bytes(whole), bytes(parts));
}

TEST_F(ElementwiseTest, SigmoidAndItsSlope) {
  std::vector<double> input{0, 1, -1, 20, -20, 88, -88, 1e4, -1e4};
  while (input.size() < 70001) input.push_back(std::sin(static_cast<double>(input.size())) * 9);
  const auto n = static_cast<int64_t>(input.size());
  const Tensor x = of(DType::f32, {n, 1}, input), d = zeros(DType::f32, {n});
  ops().fill(d, 3);
  ops().sigmoid(x, x);
  ops().sigmoid_backward(d, x);
  const auto y = values(x), slope = values(d);
  for (size_t i = 0; i < input.size(); ++i) {
    const double exact = 1 / (1 + std::exp(-static_cast<double>(static_cast<float>(input[i]))));
    ASSERT_NEAR(y[i], exact, 1e-6 * exact + 1e-37) << input[i];
    // 1 - y loses digits where y is near 1: a few units in the last place of 1.
    ASSERT_NEAR(slope[i], 3 * exact * (1 - exact), 1e-6) << input[i];
  }
}

TEST_F(ElementwiseTest, RefusesWrongShapesAndTypes) {
  const Tensor x = zeros(DType::f32, {4}), none;
  EXPECT_THROW(ops().fill(none, 0), InternalError);
  EXPECT_THROW(ops().copy(zeros(DType::f32, {5}), x), InternalError);
  EXPECT_THROW(ops().sigmoid(zeros(DType::f32, {5}), x), InternalError);
  EXPECT_THROW(ops().sigmoid(zeros(DType::bf16, {4}), x), InternalError);
  EXPECT_THROW(ops().sigmoid_backward(x, none), InternalError);
  EXPECT_THROW(ops().sigmoid_backward(x, zeros(DType::f32, {5})), InternalError);
  EXPECT_THROW(ops().copy(zeros(DType::i32, {4}), x), InternalError);
  EXPECT_THROW(ops().cast(zeros(DType::bf16, {5}), x), InternalError);
  EXPECT_THROW(ops().cast(zeros(DType::i32, {4}), x), InternalError);
  EXPECT_THROW(ops().cast(x, none), InternalError);
  EXPECT_THROW(ops().add(zeros(DType::f32, {5}), x), InternalError);
  EXPECT_THROW(ops().add(zeros(DType::i32, {4}), x), InternalError);
  EXPECT_THROW(ops().add(zeros(DType::bf16, {4}), zeros(DType::bf16, {4})), InternalError);
  EXPECT_THROW(ops().add(x, none), InternalError);
  EXPECT_THROW(ops().add(zeros(DType::i32, {5}), zeros(DType::i32, {5}), 2), InternalError);
  EXPECT_THROW(ops().average(zeros(DType::f32, {5}), x, 0.5F), InternalError);
  EXPECT_THROW(ops().average(zeros(DType::bf16, {4}), x, 0.5F), InternalError);
}

}  // namespace
}  // namespace moe::test
