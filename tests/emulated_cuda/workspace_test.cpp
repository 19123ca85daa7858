// SPDX-License-Identifier: MIT
// What an operation gets between its kernels when it needs more than the first block has.
#include "gpu/workspace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "support/errors.h"

namespace moe::gpu {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kBlock = 4096;

// Takes them in turn.
std::vector<char*> carve(const Workspace& workspace, const std::vector<int64_t>& pieces) {
  auto carving = workspace.carve();
  std::vector<char*> taken;
  for (const int64_t bytes : pieces) taken.push_back(carving.take<char>(bytes));
  return taken;
}

TEST(GpuWorkspace, PiecesFollowOneAnotherAndEachOperationBeginsAnew) {
  GpuDevice device(0);
  const Workspace workspace(device, kBlock);
  const auto first = carve(workspace, {100, 300, kBlock - 256 - 512});
  EXPECT_EQ(first[1], first[0] + 256);
  EXPECT_EQ(first[2], first[0] + 768);
  EXPECT_EQ(carve(workspace, {kBlock})[0], first[0]);
  EXPECT_EQ(workspace.bytes(), kBlock);
}

TEST(GpuWorkspace, AnOperationThatNeedsMoreFindsTheSameMemoryEachTime) {
  GpuDevice device(0);
  const Workspace workspace(device, kBlock);
  const std::vector<int64_t> pieces{1000, kBlock, 3 * kBlock, 500, 2 * kBlock};
  const auto taken = carve(workspace, pieces);
  for (size_t i = 0; i < pieces.size(); ++i)
    std::memset(taken[i], static_cast<int>(i), static_cast<size_t>(pieces[i]));
  for (size_t i = 0; i < pieces.size(); ++i) {  // no piece lies in another
    EXPECT_EQ(taken[i][0], static_cast<char>(i));
    EXPECT_EQ(taken[i][pieces[i] - 1], static_cast<char>(i));
  }
  const auto other = carve(workspace, {5 * kBlock, 7 * kBlock});  // a larger one comes between
  EXPECT_EQ(carve(workspace, pieces), taken);
  EXPECT_EQ(carve(workspace, {5 * kBlock, 7 * kBlock}), other);
  EXPECT_EQ(carve(workspace, {1000})[0], taken[0]);
}

TEST(GpuWorkspace, MoreThanTheGpuHasIsNoErrorOfOurs) {
  GpuDevice device(0);
  const Workspace workspace(device, kBlock);
  EXPECT_THAT(test::user_error_of([&] { carve(workspace, {int64_t{1} << 50}); }),
              HasSubstr("training.batch_size"));
  EXPECT_EQ(carve(workspace, {kBlock}), carve(workspace, {kBlock}));
}

}  // namespace
}  // namespace moe::gpu
