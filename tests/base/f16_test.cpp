// SPDX-License-Identifier: MIT
// The definition of the format gives what each of the 65536 patterns stands for; rounding is then checked
// against their neighbours.
#include "base/f16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace moe {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

float rounded(float x) {
  return static_cast<float>(f16(x));
}
float value_of(uint32_t bits) {
  f16 x;
  x.bits = static_cast<uint16_t>(bits);
  return static_cast<float>(x);
}

TEST(F16, EveryPatternIsWhatTheStandardSays) {
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const auto exponent = static_cast<int>(bits >> 10), mantissa = static_cast<int>(bits & 0x3ff);
    const double exact =
        exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
    ASSERT_EQ(value_of(bits), exact) << bits;
    ASSERT_EQ(value_of(bits | 0x8000U), -exact) << bits;
    ASSERT_EQ(f16(static_cast<float>(exact)).bits, bits);
    ASSERT_EQ(f16(static_cast<float>(-exact)).bits, bits | 0x8000U);
  }
  EXPECT_EQ(value_of(0x7c00), kInfinity);
  EXPECT_EQ(value_of(0xfc00), -kInfinity);
  EXPECT_TRUE(std::signbit(value_of(0x8000)));
  for (uint32_t bits = 0x7c01; bits < 0x8000; ++bits) ASSERT_TRUE(std::isnan(value_of(bits))) << bits;
}

// Between any two neighbours, subnormal ones and the step to infinity included.
TEST(F16, RoundsToNearestAndTiesToEven) {
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const double low = value_of(bits), high = bits == 0x7bff ? 65536.0 : value_of(bits + 1);
    const auto middle = static_cast<float>((low + high) / 2);
    const uint32_t even = bits % 2 == 0 ? bits : bits + 1;
    ASSERT_EQ(f16(middle).bits, even) << bits;
    ASSERT_EQ(f16(-middle).bits, even | 0x8000U) << bits;
    ASSERT_EQ(f16(std::nextafter(middle, 0.0F)).bits, bits);
    ASSERT_EQ(f16(std::nextafter(middle, kInfinity)).bits, bits + 1);
  }
}

TEST(F16, OverflowsToInfinityAndUnderflowsToZero) {
  EXPECT_EQ(rounded(65519.996F), 65504.0F);
  EXPECT_EQ(rounded(65520.0F), kInfinity);
  for (const float x : {65536.0F, 1e10F, std::numeric_limits<float>::max(), kInfinity}) {
    EXPECT_EQ(rounded(x), kInfinity);
    EXPECT_EQ(rounded(-x), -kInfinity);
  }
  for (const float x : {0.0F, 0x1p-25F, 1e-30F, std::numeric_limits<float>::denorm_min()}) {
    EXPECT_EQ(f16(x).bits, 0);
    EXPECT_EQ(f16(-x).bits, 0x8000);
  }
}

TEST(F16, NanStaysNan) {
  for (const uint32_t bits : {0x7f800001U, 0x7fc00000U, 0xffffffffU, 0xff800001U})
    EXPECT_TRUE(std::isnan(rounded(std::bit_cast<float>(bits)))) << bits;
}

}  // namespace
}  // namespace moe
