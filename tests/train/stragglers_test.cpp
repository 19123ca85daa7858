// SPDX-License-Identifier: MIT
#include "train/stragglers.h"

#include <gtest/gtest.h>

#include <array>

namespace moe::train {
namespace {

// A window in which rank 2 of 4 comes last but for the first `others` steps, `late` seconds after the first;
// a step takes 1 s.
std::optional<Stragglers::Verdict> window(Stragglers& stragglers, int others, double late) {
  std::optional<Stragglers::Verdict> verdict;
  for (int i = 0; i < Stragglers::kWindow; ++i) {
    EXPECT_FALSE(verdict.has_value()) << "before the end of a window";
    std::array<double, 4> waited{late, 0.9 * late, 0.001, 0.8 * late};
    if (i < others) std::swap(waited[2], waited[static_cast<size_t>(i % 2)]);
    const auto step = stragglers.add(waited, 1.0);
    EXPECT_EQ(step.slowest, i < others ? i % 2 : 2);
    EXPECT_NEAR(step.lost, late, 0.11 * late + 0.002);
    verdict = stragglers.verdict();
  }
  return verdict;
}

TEST(Stragglers, OneThatIsOftenLastAndLateIsNamed) {
  Stragglers stragglers;
  const auto verdict = window(stragglers, 5, 0.3);
  ASSERT_TRUE(verdict.has_value());
  EXPECT_EQ(verdict->rank, 2);
  EXPECT_NEAR(verdict->lost, 0.299, 0.01);
  EXPECT_EQ(verdict->step, 1);
}

TEST(Stragglers, NobodyIsNamedForLittleOrInTurns) {
  Stragglers stragglers;
  EXPECT_FALSE(window(stragglers, 0, 0.05).has_value()) << "the others lose 5 %";
  EXPECT_FALSE(window(stragglers, 20, 0.3).has_value()) << "in 30 of 50 steps only";
  EXPECT_TRUE(window(stragglers, 0, 0.3).has_value()) << "each window is judged by itself";
}

}  // namespace
}  // namespace moe::train
