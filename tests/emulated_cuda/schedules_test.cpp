// SPDX-License-Identifier: MIT
// The experts' kernels for Hopper give the same bits however their warpgroups share the work: so that the
// schedule may be chosen by speed alone. What they should give is the business of ops/experts_test.cpp. And
// how they find a row's token.
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "gpu/gpu_device.h"
#include "gpu/sm90/experts.h"
#include "gpu/sm90/grouped_tile.cuh"
#include "support/fixture.h"

namespace moe::gpu {
namespace {

constexpr int64_t kTokens = 110, kExperts = 4, kChoices = 2, kD = 192, kF = 136, kRows = kTokens * kChoices;
constexpr int kProcessors = 3;  // few, so that a block has several tiles

// Of activations in bf16 and in f16.
class Schedules : public test::OpsTest, public testing::WithParamInterface<DType> {
 public:
  void SetUp() override {
    if (test::test_device() != "gpu") GTEST_SKIP() << "kernels of the GPU: MOE_TEST_DEVICE is not gpu";
    plan_ = {zeros(DType::i32, {kExperts + 1}), zeros(DType::i32, {kRows}),
             zeros(DType::i32, {kTokens, kChoices}), zeros(DType::i32, {kExperts}),
             zeros(DType::i32, {kExperts})};
    std::vector<int32_t> expert;  // the last has no token, the first has more than a tile
    for (int32_t n = 0; n < kTokens; ++n) {
      expert.push_back(n % 8 == 3 ? 1 : 0);
      expert.push_back(n % 8 == 3 ? 2 : 1 + n % 2);
    }
    ops().route_plan(plan_, of(DType::i32, {kTokens, kChoices}, expert), {});
    stream_ = dynamic_cast<GpuDevice&>(device()).stream();
  }

  Tensor activations(const char* name, int64_t rows, int64_t columns) {
    return normal(name, GetParam(), {rows, columns});
  }

  // body writes `outputs`, which begin with the same contents.
  void expect_same(const std::vector<Tensor>& outputs, const std::function<void(Schedule)>& body) {
    std::vector<std::vector<uint8_t>> expected;
    for (const Schedule schedule : {Schedule::cooperative, Schedule::pingpong}) {
      for (const Tensor& output : outputs) ops().fill(output, 0.5F);
      body(schedule);
      for (size_t i = 0; i < outputs.size(); ++i) {
        if (schedule == Schedule::cooperative)
          expected.push_back(bytes(outputs[i]));
        else
          EXPECT_EQ(bytes(outputs[i]), expected[i]) << "output " << i;
      }
    }
  }

  RoutePlan plan_;
  cudaStream_t stream_ = nullptr;
};

TEST_P(Schedules, SameBitsOfTheProducts) {
  const DType half = GetParam();
  const Tensor a = activations("a", kRows, kF), dh = activations("dh", kRows, 2 * kD);
  const Tensor down = normal("down", half, {kExperts, kD, kF});
  const Tensor up = normal("up", half, {kExperts, 2 * kD, kF});
  for (const DType type : {half, DType::f32})
    for (const bool accumulate : {false, true}) {
      Tensor y = zeros(half, {kRows, kD}), dx = zeros(half, {kRows, kF}),
             dw = zeros(type, {kExperts, kF, 2 * kD});
      const auto product = [&](Tensor& c, const Tensor& x, const Tensor& w, MatmulLayout layout,
                               Schedule schedule) {
        sm90_grouped_matmul(stream_, kProcessors, {c, x, w, plan_.offset_E1, layout, accumulate}, schedule);
      };
      expect_same({y}, [&](Schedule schedule) { product(y, a, down, MatmulLayout::NT, schedule); });
      expect_same({dx}, [&](Schedule schedule) { product(dx, dh, up, MatmulLayout::NN, schedule); });
      expect_same({dw}, [&](Schedule schedule) { product(dw, a, dh, MatmulLayout::TN, schedule); });
    }
}

TEST_P(Schedules, SameBitsOfTheExperts) {
  const DType half = GetParam();
  const Tensor x = activations("x", kTokens, kD), up = normal("up", half, {kExperts, 2 * kF, kD});
  Tensor h = zeros(half, {kRows, 2 * kF}), a = zeros(half, {kRows, kF});
  expect_same({h, a}, [&](Schedule schedule) {
    sm90_expert_up(stream_, kProcessors, {h, a, {}, x, up, plan_}, schedule);
  });
  for (const DType type : {half, DType::f32})
    for (const bool accumulate : {false, true}) {
      Tensor ddown = zeros(type, {kExperts, kD, kF}), dup = zeros(type, {kExperts, 2 * kF, kD});
      expect_same({ddown, dup}, [&](Schedule schedule) {
        sm90_expert_down_gradient(stream_, kProcessors, {ddown, {}, x, a, plan_, accumulate}, schedule);
        sm90_expert_up_gradient(stream_, kProcessors, {dup, {}, h, x, plan_, accumulate}, schedule);
      });
    }
}

// More steps in a tile than two rounds through the stages: a warpgroup that waits for its turn must not take
// the phase of an earlier tile for its own.
TEST_P(Schedules, LongTilesKeepTheirTurns) {
  const DType half = GetParam();
  constexpr int64_t d = 896, f = 264;
  const Tensor x = activations("x", kTokens, d), up = normal("up", half, {kExperts, 2 * f, d});
  Tensor h = zeros(half, {kRows, 2 * f}), a = zeros(half, {kRows, f});
  expect_same({h, a}, [&](Schedule schedule) {
    sm90_expert_up(stream_, 1, {h, a, {}, x, up, plan_}, schedule);
  });
}

INSTANTIATE_TEST_SUITE_P(OfType, Schedules, testing::ValuesIn(test::kHalves),
                         [](const auto& type) { return std::string(name_of(type.param)); });

// Without a division, for every number of choices and the slots where an estimate would go wrong.
TEST(TokenOfASlot, IsTheQuotient) {
  for (uint32_t choices = 1; choices <= 64; ++choices) {
    grouped::Product p{};
    p.choices = static_cast<int>(choices);
    p.part = 0xFFFFFFFF / choices;
    for (const uint32_t token : {0U, 1U, 2U, 1000U, 32767U, 0x7FFFFFFFU / choices - 1})
      for (uint32_t k = 0; k < choices; ++k)
        EXPECT_EQ(p.token_of(token * choices + k), token) << choices << ", " << k;
  }
}

}  // namespace
}  // namespace moe::gpu
