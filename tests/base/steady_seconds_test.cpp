// SPDX-License-Identifier: MIT
#include "base/steady_seconds.h"

#include <gtest/gtest.h>

namespace moe {
namespace {

TEST(SteadySecondsTest, NeverGoesBack) {
  const double before = steady_seconds();
  EXPECT_GE(steady_seconds(), before);
}

}  // namespace
}  // namespace moe
