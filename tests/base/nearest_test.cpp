// SPDX-License-Identifier: MIT
#include "base/nearest.h"

#include <gtest/gtest.h>

namespace moe {
namespace {

TEST(EditDistance, CountsSlips) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("abc", ""), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("top_k", "tpo_k"), 1);  // a swap is one slip
  EXPECT_EQ(edit_distance("ca", "abc"), 3);       // optimal string alignment, not full Damerau (2)
}

TEST(NearestName, FindsTheOneMeantOrNone) {
  const std::vector<std::string> names{"batch_size", "beta1", "beta2", "seed"};
  EXPECT_EQ(nearest_name("batchsize", names), "batch_size");
  EXPECT_EQ(nearest_name("beta", names), "beta1");  // the first of two equally near
  EXPECT_EQ(nearest_name("momentum", names), "");
  EXPECT_EQ(nearest_name("", names), "");
  EXPECT_EQ(nearest_name("x", {}), "");
  EXPECT_EQ(nearest_name(std::string(1000, 'b'), names), "");
}

}  // namespace
}  // namespace moe
