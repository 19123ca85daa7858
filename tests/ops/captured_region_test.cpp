// SPDX-License-Identifier: MIT
// A captured region does the same work each time it is run, on the values that the tensors hold then.
#include <gtest/gtest.h>

#include "support/fixture.h"

namespace moe::test {
namespace {

class CapturedRegionTest : public OpsTest {};

TEST_F(CapturedRegionTest, RunsOnTheValuesOfTheMoment) {
  const Tensor x = zeros(DType::f32, {3}), sum = zeros(DType::f32, {3});
  const auto region = ops().captured_region();
  for (const float value : {1.0F, 2.0F, 3.0F, 4.0F}) {
    set(x, std::vector<float>(3, value));
    region->run([&] {
      ops().add(sum, x);
      ops().add(sum, x);
    });
  }
  EXPECT_EQ(values(sum), std::vector<double>(3, 20));
}

// What the host does between operations it does in each run, behind those before it and ahead of those after
// it.
TEST_F(CapturedRegionTest, WorkBetweenOperationsIsDoneEachTime) {
  const Tensor x = of(DType::f32, {2}, std::vector<float>{1, 2}), sum = zeros(DType::f32, {2});
  const auto region = ops().captured_region();
  std::vector<std::vector<double>> seen;
  for (int run = 0; run < 4; ++run) {
    region->run([&] {
      ops().add(sum, x);
      region->host_callback([&] { seen.push_back(values(sum)); });
      region->host_callback([&] { set(x, std::vector<float>{10, 20}); });
      ops().add(sum, x);
    });
    set(x, std::vector<float>{1, 2});
  }
  EXPECT_EQ(seen, (std::vector<std::vector<double>>{{1, 2}, {12, 24}, {23, 46}, {34, 68}}));
  EXPECT_EQ(values(sum), (std::vector<double>{44, 88}));
}

TEST_F(CapturedRegionTest, AnErrorOnTheWayLeavesTheDeviceUsable) {
  const Tensor x = of(DType::f32, {2}, std::vector<float>{1, 2}), wrong = zeros(DType::f32, {3});
  const auto region = ops().captured_region();
  bool fails = false;
  const auto body = [&] { ops().add(x, fails ? wrong : x); };
  region->run(body);
  fails = true;  // where a GPU records
  EXPECT_THROW(region->run(body), InternalError);
  fails = false;
  region->run(body);
  ops().add(x, x);
  EXPECT_EQ(values(x), (std::vector<double>{8, 16}));
}

}  // namespace
}  // namespace moe::test
