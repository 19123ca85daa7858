// SPDX-License-Identifier: MIT
#include "metrics/meters.h"

#include <gtest/gtest.h>

namespace moe::metrics {
namespace {

TEST(SmoothedTest, IsUnbiasedFromTheStart) {
  Smoothed smoothed(0.9);
  EXPECT_FALSE(smoothed.value().has_value());
  for (int i = 0; i < 5; ++i) {
    smoothed.add(4);
    EXPECT_NEAR(smoothed.value().value(), 4, 1e-12);
  }
}

TEST(SmoothedTest, ForgetsSlowly) {
  Smoothed smoothed(0.5);
  smoothed.add(0);
  smoothed.add(6);
  EXPECT_DOUBLE_EQ(smoothed.value().value(), 4);  // (0.25 * 0 + 0.5 * 6) / 0.75
  for (int i = 0; i < 60; ++i) smoothed.add(8);
  EXPECT_DOUBLE_EQ(smoothed.value().value(), 8);
}

TEST(TimeLeftTest, CountsTheStepsThatRemain) {
  TimeLeft left(10);
  EXPECT_FALSE(left.seconds().has_value());
  left.at(4, 100);
  EXPECT_FALSE(left.seconds().has_value());
  left.at(5, 102);
  EXPECT_DOUBLE_EQ(left.seconds().value(), 10);
  left.at(5, 300);  // the same step again tells nothing
  EXPECT_DOUBLE_EQ(left.seconds().value(), 10);
  left.at(7, 106);  // two steps in four seconds
  EXPECT_DOUBLE_EQ(left.seconds().value(), 6);
  left.at(11, 114);
  EXPECT_DOUBLE_EQ(left.seconds().value(), 0);
}

}  // namespace
}  // namespace moe::metrics
