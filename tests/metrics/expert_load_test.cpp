// SPDX-License-Identifier: MIT
// Against numbers made with numpy: entropy -(p*log(p)).sum()/log(E), c.std()/c.mean(), c.max()/c.mean().
#include "metrics/expert_load.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"

namespace moe::metrics {
namespace {

ExpertLoad load(std::vector<int64_t> count) {
  return expert_load(count);
}

TEST(ExpertLoadTest, MixedCounts) {
  const ExpertLoad mixed = load({3, 1, 4, 1, 5, 9, 2, 6});
  EXPECT_NEAR(mixed.entropy, 0.8943705121299473, 1e-14);
  EXPECT_NEAR(mixed.cv, 0.6634504452001011, 1e-14);
  EXPECT_NEAR(mixed.max_over_mean, 2.3225806451612905, 1e-14);
  EXPECT_EQ(mixed.dead_share, 0);
}

TEST(ExpertLoadTest, DeadExperts) {
  const ExpertLoad dead = load({0, 10, 0, 2});
  EXPECT_NEAR(dead.entropy, 0.32501121082417705, 1e-14);
  EXPECT_NEAR(dead.cv, 1.3743685418725535, 1e-14);
  EXPECT_NEAR(dead.max_over_mean, 10.0 / 3, 1e-14);
  EXPECT_EQ(dead.dead_share, 0.5);
}

TEST(ExpertLoadTest, Extremes) {
  const ExpertLoad even = load({7, 7, 7, 7});
  EXPECT_NEAR(even.entropy, 1, 1e-15);
  EXPECT_EQ(even.cv, 0);
  EXPECT_EQ(even.max_over_mean, 1);

  const ExpertLoad alone = load({0, 0, 0, 8});
  EXPECT_EQ(alone.entropy, 0);
  EXPECT_EQ(alone.max_over_mean, 4);
  EXPECT_EQ(alone.dead_share, 0.75);

  const ExpertLoad idle = load({0, 0});
  EXPECT_EQ(idle.entropy, 0);
  EXPECT_EQ(idle.cv, 0);
  EXPECT_EQ(idle.dead_share, 1);

  EXPECT_EQ(load({5}).entropy, 1);
  EXPECT_THROW(load({}), InternalError);
}

}  // namespace
}  // namespace moe::metrics
