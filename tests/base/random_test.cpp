// SPDX-License-Identifier: MIT
#include "base/random.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

namespace moe {
namespace {

using Block = std::array<uint32_t, 4>;

// The known-answer vectors of the Random123 distribution (kat_vectors, philox4x32 10).
TEST(Philox, GivesThePublishedAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(philox({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// Vectors of the FNV reference page, 64-bit FNV-1a.
TEST(StreamId, IsFnv1a) {
  EXPECT_EQ(stream_id(""), 0xcbf29ce484222325u);
  EXPECT_EQ(stream_id("a"), 0xaf63dc4c8601ec8cu);
  EXPECT_EQ(stream_id("foobar"), 0x85944171f73967e8u);
}

TEST(Random, BitsAreThePhiloxBlockOfSeedStreamAndIndex) {
  EXPECT_EQ(Random(0, uint64_t{0}).bits(0), 0xe169c58d6627e8d5u);
  const Random pi(0x299f31d0a4093822u, uint64_t{0x0370734413198a2eu});
  EXPECT_EQ(pi.bits(0x85a308d3243f6a88u), 0x94fdccebd16cfe09u);
}

TEST(Random, SeedStreamAndIndexEachChangeTheValue) {
  const std::set<uint64_t> seen{Random(1, "a").bits(0), Random(2, "a").bits(0), Random(1, "b").bits(0),
                                Random(1, "a").bits(1), Random(1, "a").bits(uint64_t{1} << 32)};
  EXPECT_EQ(seen.size(), 5u);
}

TEST(Random, UniformFillsTheUnitInterval) {
  const Random random(7, "uniform");
  std::array<int, 16> count{};
  constexpr uint64_t kDraws = 160'000;
  for (uint64_t i = 0; i < kDraws; ++i) {
    const float x = random.uniform(i);
    ASSERT_GE(x, 0.0F);
    ASSERT_LT(x, 1.0F);
    ++count[static_cast<size_t>(x * 16)];
  }
  // Each bin is binomial: mean 10,000, standard deviation 97. Five of them.
  for (const int n : count) EXPECT_NEAR(n, 10'000, 485);
}

TEST(Random, BelowStaysBelowAndReachesAll) {
  const Random random(7, "below");
  std::set<uint64_t> seen;
  for (uint64_t i = 0; i < 500; ++i) seen.insert(random.below(i, 10));
  EXPECT_EQ(seen.size(), 10u);
  EXPECT_EQ(*seen.rbegin(), 9u);
  EXPECT_EQ(random.below(3, 1), 0u);
  EXPECT_EQ(random.below(3, uint64_t{1} << 63), random.bits(3) >> 1);
}

TEST(Random, NormalHasTheMomentsOfAStandardNormal) {
  const Random random(7, "normal");
  constexpr int kDraws = 200'000;
  double sum = 0, squares = 0, cubes = 0, fourths = 0;
  for (uint64_t i = 0; i < kDraws; ++i) {
    const double x = random.normal(i);
    ASSERT_TRUE(std::isfinite(x));
    sum += x;
    squares += x * x;
    cubes += x * x * x;
    fourths += x * x * x * x;
  }
  // Standard errors: sqrt of 1, 2, 15, 96 over the number of draws. Five of each.
  const double unit = 5 / std::sqrt(kDraws);
  EXPECT_NEAR(sum / kDraws, 0, unit);
  EXPECT_NEAR(squares / kDraws, 1, unit * std::sqrt(2.0));
  EXPECT_NEAR(cubes / kDraws, 0, unit * std::sqrt(15.0));
  EXPECT_NEAR(fourths / kDraws, 3, unit * std::sqrt(96.0));
}

TEST(Random, PermutationHoldsEachNumberOnce) {
  EXPECT_TRUE(Random(1, "p").permutation(0).empty());
  EXPECT_EQ(Random(1, "p").permutation(1), std::vector<uint32_t>{0});
  auto order = Random(1, "p").permutation(1000);
  EXPECT_NE(order, Random(2, "p").permutation(1000));
  EXPECT_FALSE(std::ranges::is_sorted(order));
  std::ranges::sort(order);
  std::vector<uint32_t> all(1000);
  std::iota(all.begin(), all.end(), 0u);
  EXPECT_EQ(order, all);
}

TEST(Random, PermutationsOfThreeAreEquallyLikely) {
  std::vector<int> count(9, 0);  // by the first two numbers
  for (uint64_t seed = 0; seed < 6000; ++seed) {
    const auto order = Random(seed, "p").permutation(3);
    ++count[order[0] * 3 + order[1]];
  }
  EXPECT_THAT(count, ::testing::ElementsAre(0, ::testing::_, ::testing::_, ::testing::_, 0, ::testing::_,
                                            ::testing::_, ::testing::_, 0));
  for (const size_t i : {1, 2, 3, 5, 6, 7}) EXPECT_NEAR(count[i], 1000, 145);  // five standard deviations
}

}  // namespace
}  // namespace moe
