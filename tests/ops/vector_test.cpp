// SPDX-License-Identifier: MIT
// The helpers of all row loops: exp against the C library in double, sums and conversions.
#include "cpu/vector.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace moe::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Distance in units of the last place of the exact value.
double ulps(float value, double exact) {
  const double unit = std::ldexp(1.0, std::ilogb(exact) - 23);
  return std::abs(value - exact) / unit;
}

TEST(VectorTest, ExpIsWithinTwoUlp) {
  double worst = 0;
  for (int i = 0; i <= 2'000'000; ++i) {
    const float x = -87.3F + 175.9F * static_cast<float>(i) / 2e6F;
    const double error = ulps(exp_approx(x), std::exp(static_cast<double>(x)));
    ASSERT_LE(error, 2.0) << "at " << x;
    worst = std::max(worst, error);
  }
  RecordProperty("worst_ulp", std::to_string(worst));
}

TEST(VectorTest, ExpAtTheEnds) {
  EXPECT_EQ(exp_approx(-kInfinity), 0.0F);
  EXPECT_EQ(exp_approx(-1e30F), 0.0F);
  EXPECT_EQ(exp_approx(0.0F), 1.0F);
  EXPECT_EQ(exp_approx(-0.0F), 1.0F);
  EXPECT_EQ(exp_approx(kInfinity), kInfinity);
  EXPECT_EQ(exp_approx(88.8F), kInfinity);
  EXPECT_TRUE(std::isfinite(exp_approx(88.72F)));
  EXPECT_TRUE(std::isnan(exp_approx(std::numeric_limits<float>::quiet_NaN())));
  EXPECT_NEAR(exp_approx(-100.0F), std::exp(-100.0), 1.5e-45);  // one step of subnormal numbers
}

TEST(VectorTest, ExpFlushedIsWithinTwoUlp) {
  for (int i = 0; i <= 1'000'000; ++i) {
    const float x = -87.0F * static_cast<float>(i) / 1e6F;
    ASSERT_LE(ulps(exp_flushed(x), std::exp(static_cast<double>(x))), 2.0) << "at " << x;
  }
}

TEST(VectorTest, ExpFlushedAtTheEnds) {
  EXPECT_EQ(exp_flushed(0.0F), 1.0F);
  EXPECT_EQ(exp_flushed(-0.0F), 1.0F);
  for (const float x : {std::nextafter(-87.0F, -88.0F), -104.0F, -1e4F, -1e30F, -3.4e38F, -kInfinity})
    EXPECT_EQ(exp_flushed(x), 0.0F) << x;
  EXPECT_TRUE(std::isnan(exp_flushed(std::numeric_limits<float>::quiet_NaN())));
}

TEST(VectorTest, SigmoidSaturatesWithoutNan) {
  EXPECT_EQ(sigmoid(-1000.0F), 0.0F);
  EXPECT_EQ(sigmoid(1000.0F), 1.0F);
  EXPECT_EQ(sigmoid(0.0F), 0.5F);
}

TEST(VectorTest, SumsOfEveryLength) {
  for (int64_t n = 0; n < 200; ++n) {
    const float sum = sum_of(n, [](int64_t i) { return static_cast<float>(i + 1); });
    const int64_t expected = n * (n + 1) / 2;
    EXPECT_EQ(sum, static_cast<float>(expected)) << n;
  }
}

TEST(VectorTest, SumStaysAccurateForLongRows) {
  // As long as a row of logits; one running f32 sum of the same is off by 3e-5 relative and more.
  const float sum = sum_of(50'304, [](int64_t) { return 0.1F; });
  EXPECT_NEAR(sum / (50'304 * static_cast<double>(0.1F)), 1.0, 1e-5);
}

TEST(VectorTest, MaximumAtEveryPlace) {
  for (size_t n = 1; n < 100; ++n)
    for (size_t at = 0; at < n; ++at) {
      std::vector<float> x(n, -5.0F);
      x[at] = -1.0F;
      ASSERT_EQ(max_of(x.data(), static_cast<int64_t>(n)), -1.0F) << n << " " << at;
    }
}

TEST(VectorTest, Bf16RowsRoundToNearestEven) {
  // 1 + 2^-8 lies half way between 1 and 1 + 2^-7: to the even 1. 1 + 3 * 2^-8 goes up to 1 + 2^-6.
  const std::vector<float> in = {1.0F + 0x1p-8F, 1.0F + 3 * 0x1p-8F, 1.0F + 0x1.01p-8F, -2.5F, kInfinity};
  std::vector<bf16> packed(in.size());
  std::vector<float> out(in.size());
  store_row(packed.data(), in.data(), static_cast<int64_t>(in.size()));
  load_row(out.data(), packed.data(), static_cast<int64_t>(in.size()));
  EXPECT_EQ(out, (std::vector<float>{1.0F, 1.0F + 0x1p-6F, 1.0F + 0x1p-7F, -2.5F, kInfinity}));
}

}  // namespace
}  // namespace moe::cpu
