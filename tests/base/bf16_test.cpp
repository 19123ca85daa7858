// SPDX-License-Identifier: MIT
#include "base/bf16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace moe {
namespace {

float rounded(float x) {
  return static_cast<float>(bf16(x));
}

TEST(Bf16, KeepsWhatFits) {
  for (const float x : {0.0F, 1.0F, -2.5F, 0x1.FEp127F, 0x1p-126F, 0x1p-133F}) EXPECT_EQ(rounded(x), x);
  EXPECT_TRUE(std::signbit(rounded(-0.0F)));
}

TEST(Bf16, RoundsToNearestAndTiesToEven) {
  EXPECT_EQ(rounded(0x1.01p0F), 1.0F);           // half-way, the even one is below
  EXPECT_EQ(rounded(0x1.03p0F), 0x1.04p0F);      // half-way, the even one is above
  EXPECT_EQ(rounded(0x1.010002p0F), 0x1.02p0F);  // just past half-way
  EXPECT_EQ(rounded(0x1.00fffep0F), 1.0F);       // just short of it
  EXPECT_EQ(rounded(-0x1.03p0F), -0x1.04p0F);
}

TEST(Bf16, OverflowsToInfinity) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(rounded(std::numeric_limits<float>::max()), infinity);
  EXPECT_EQ(rounded(-infinity), -infinity);
  EXPECT_EQ(rounded(0x1.FEFFFEp127F), 0x1.FEp127F);
}

TEST(Bf16, NanStaysNan) {
  // A NaN whose payload lies in the bits that are cut off must not become infinity.
  for (const uint32_t bits : {0x7f800001u, 0x7fc00000u, 0xffffffffu, 0xff800001u})
    EXPECT_TRUE(std::isnan(rounded(std::bit_cast<float>(bits)))) << bits;
}

}  // namespace
}  // namespace moe
