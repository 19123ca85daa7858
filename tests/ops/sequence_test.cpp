// SPDX-License-Identifier: MIT
// A sequence does the same work each time it is run, on the values that the tensors hold then.
#include <gtest/gtest.h>

#include "support/fixture.h"

namespace moe::test {
namespace {

class SequenceTest : public OpsTest {};

TEST_F(SequenceTest, RunsOnTheValuesOfTheMoment) {
  const Tensor x = zeros(DType::f32, {3}), sum = zeros(DType::f32, {3});
  const auto sequence = ops().sequence();
  for (const float value : {1.0F, 2.0F, 3.0F, 4.0F}) {
    set(x, std::vector<float>(3, value));
    sequence->run([&] {
      ops().add(sum, x);
      ops().add(sum, x);
    });
  }
  EXPECT_EQ(values(sum), std::vector<double>(3, 20));
}

// What the host does between operations it does in each run, behind those before it and ahead of those after it.
TEST_F(SequenceTest, WorkBetweenOperationsIsDoneEachTime) {
  const Tensor x = of(DType::f32, {2}, std::vector<float>{1, 2}), sum = zeros(DType::f32, {2});
  const auto sequence = ops().sequence();
  std::vector<std::vector<double>> seen;
  for (int run = 0; run < 4; ++run) {
    sequence->run([&] {
      ops().add(sum, x);
      sequence->between([&] { seen.push_back(values(sum)); });
      sequence->between([&] { set(x, std::vector<float>{10, 20}); });
      ops().add(sum, x);
    });
    set(x, std::vector<float>{1, 2});
  }
  EXPECT_EQ(seen, (std::vector<std::vector<double>>{{1, 2}, {12, 24}, {23, 46}, {34, 68}}));
  EXPECT_EQ(values(sum), (std::vector<double>{44, 88}));
}

TEST_F(SequenceTest, AnErrorOnTheWayLeavesTheDeviceUsable) {
  const Tensor x = of(DType::f32, {2}, std::vector<float>{1, 2}), wrong = zeros(DType::f32, {3});
  const auto sequence = ops().sequence();
  bool fails = false;
  const auto body = [&] { ops().add(x, fails ? wrong : x); };
  sequence->run(body);
  fails = true;  // where a GPU records
  EXPECT_THROW(sequence->run(body), InternalError);
  fails = false;
  sequence->run(body);
  ops().add(x, x);
  EXPECT_EQ(values(x), (std::vector<double>{8, 16}));
}

}  // namespace
}  // namespace moe::test
