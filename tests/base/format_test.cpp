// SPDX-License-Identifier: MIT
#include "base/format.h"

#include <gtest/gtest.h>

namespace moe {
namespace {

TEST(FormatCount, ThreeDigitsAndAPowerOfAThousand) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(7), "7");
  EXPECT_EQ(format_count(0.25), "0.25");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1000), "1.00 K");
  EXPECT_EQ(format_count(1.73e9), "1.73 B");
  EXPECT_EQ(format_count(17.34e6), "17.3 M");
  EXPECT_EQ(format_count(-173.4e3), "-173 K");
  EXPECT_EQ(format_count(10.5e12), "10.5 T");
  EXPECT_EQ(format_count(123456e12), "123456 T");
}

TEST(FormatCount, NeverRoundsUpIntoAFourthDigit) {
  EXPECT_EQ(format_count(999.7), "1.00 K");
  EXPECT_EQ(format_count(9.996), "10.0");
  EXPECT_EQ(format_count(99.96), "100");
  EXPECT_EQ(format_count(999'600), "1.00 M");
}

TEST(FormatBytes, PowersOf1024) {
  EXPECT_EQ(format_bytes(950), "950 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.00 KiB");
  EXPECT_EQ(format_bytes(1.5 * (1 << 30)), "1.50 GiB");
}

TEST(FormatDuration, TwoUnitsAtMost) {
  EXPECT_EQ(format_duration(0), "0 s");
  EXPECT_EQ(format_duration(850e-6), "850 us");
  EXPECT_EQ(format_duration(0.085), "85.0 ms");
  EXPECT_EQ(format_duration(12.34), "12.3 s");
  EXPECT_EQ(format_duration(59.97), "1 min 00 s");
  EXPECT_EQ(format_duration(185), "3 min 05 s");
  EXPECT_EQ(format_duration(3599.7), "1 h 00 min");
  EXPECT_EQ(format_duration(7620), "2 h 07 min");
  EXPECT_EQ(format_duration(3 * 86400 + 4 * 3600), "3 d 04 h");
}

}  // namespace
}  // namespace moe
