// SPDX-License-Identifier: MIT
// The experts' kernels for Hopper give the same bits however their warpgroups share the work: so that the
// schedule may be chosen by speed alone. What they should give is the business of ops/experts_test.cpp.
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "gpu/gpu_device.h"
#include "gpu/sm90/experts.h"
#include "support/fixture.h"

namespace moe::gpu {
namespace {

constexpr int64_t kTokens = 220, kExperts = 4, kChoices = 2, kRows = kTokens * kChoices;
constexpr int kProcessors = 5;  // few, so that a block has several tiles

// Of activations in bf16 and in f16.
class Schedules : public test::OpsTest, public testing::WithParamInterface<DType> {
 public:
  void SetUp() override {
    if (test::test_device() != "gpu") GTEST_SKIP() << "kernels of the GPU: MOE_TEST_DEVICE is not gpu";
    auto& gpu = dynamic_cast<GpuDevice&>(device());
    if (gpu.properties().major != 9) GTEST_SKIP() << "Hopper's kernels";
    plan_ = {zeros(DType::i32, {kExperts + 1}), zeros(DType::i32, {kRows}),
             zeros(DType::i32, {kTokens, kChoices}), zeros(DType::i32, {kExperts}),
             zeros(DType::i32, {kExperts})};
    std::vector<int32_t> expert;  // the last has no token, the others 3, 2 and 1 tile of rows
    for (int32_t n = 0; n < kTokens; ++n) {
      expert.push_back(n % 8 == 3 ? 1 : 0);
      expert.push_back(n % 3 == 2 ? 1 + n % 2 : n % 3);
    }
    ops().route_plan(plan_, of(DType::i32, {kTokens, kChoices}, expert), {});
    stream_ = gpu.stream();
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

  void expect_same_products(int64_t m, int64_t n);
  void expect_same_experts(int64_t d, int64_t f);

  RoutePlan plan_;
  cudaStream_t stream_ = nullptr;
};

// c has n columns, that of a gradient m rows.
void Schedules::expect_same_products(int64_t m, int64_t n) {
  const DType half = GetParam();
  const Tensor a = activations("a", kRows, m), b = activations("b", kRows, n),
               x = activations("x", kRows, 128);
  const Tensor nt = normal("nt", half, {kExperts, n, 128}), nn = normal("nn", half, {kExperts, 128, n});
  for (const bool accumulate : {false, true}) {
    Tensor y = zeros(half, {kRows, n}), dw = zeros(accumulate ? DType::f32 : half, {kExperts, m, n});
    const auto product = [&](Tensor& c, const Tensor& left, const Tensor& right, MatmulLayout layout) {
      expect_same({c}, [&](Schedule schedule) {
        sm90_grouped_matmul(stream_, kProcessors, {c, left, right, plan_.offset_E1, layout, accumulate},
                            schedule);
      });
    };
    product(dw, a, b, MatmulLayout::TN);
    product(y, x, nt, MatmulLayout::NT);
    product(y, x, nn, MatmulLayout::NN);
  }
}

// Tiles of 128 columns and of 256.
TEST_P(Schedules, SameBitsOfTheProducts) {
  expect_same_products(264, 136);
  expect_same_products(136, 392);
}

void Schedules::expect_same_experts(int64_t d, int64_t f) {
  const DType half = GetParam();
  const Tensor x = activations("x", kTokens, d), up = normal("up", half, {kExperts, 2 * f, d});
  Tensor h = zeros(half, {kRows, 2 * f}), a = zeros(half, {kRows, f});
  expect_same({h, a}, [&](Schedule schedule) {
    sm90_expert_up(stream_, kProcessors, {h, a, {}, x, up, plan_}, schedule);
  });
  for (const bool accumulate : {false, true}) {
    const DType type = accumulate ? DType::f32 : half;
    Tensor ddown = zeros(type, {kExperts, d, f}), dup = zeros(type, {kExperts, 2 * f, d});
    expect_same({ddown, dup}, [&](Schedule schedule) {
      sm90_expert_down_gradient(stream_, kProcessors, {ddown, {}, x, a, plan_, accumulate}, schedule);
      sm90_expert_up_gradient(stream_, kProcessors, {dup, {}, h, x, plan_, accumulate}, schedule);
    });
  }
}

// Tiles of 256 columns and of 128 for each.
TEST_P(Schedules, SameBitsOfTheExperts) {
  expect_same_experts(64, 456);
  expect_same_experts(384, 72);
}

// More steps in a tile than two rounds through the stages: a warpgroup that waits for its turn must not take
// the phase of an earlier tile for its own.
TEST_P(Schedules, LongTilesKeepTheirTurns) {
  const DType half = GetParam();
  constexpr int64_t d = 896, f = 200;
  const Tensor x = activations("x", kTokens, d), up = normal("up", half, {kExperts, 2 * f, d});
  Tensor h = zeros(half, {kRows, 2 * f}), a = zeros(half, {kRows, f});
  expect_same({h, a}, [&](Schedule schedule) {
    sm90_expert_up(stream_, 1, {h, a, {}, x, up, plan_}, schedule);
  });
}

class Fp8Schedules : public Schedules {};  // activations beside FP8 are bf16

// Tiles of 256 columns and of 128.
TEST_P(Fp8Schedules, SameBitsOfTheExperts) {
  for (const auto& [d, f] : {std::pair<int64_t, int64_t>{80, 456}, {1168, 72}}) {
    const Tensor x = activations("x", kTokens, d), up = normal("up", DType::bf16, {kExperts, 2 * f, d});
    const ScaledRows x8{zeros(DType::e4m3, {kTokens, d}), zeros(DType::f32, {kTokens})};
    const ScaledRows up8{zeros(DType::e4m3, {kExperts, 2 * f, d}), zeros(DType::f32, {kExperts, 2 * f})};
    ops().quantise_rows(x8, x);
    ops().quantise_rows(up8, up);
    Tensor h = zeros(DType::bf16, {kRows, 2 * f}), a = zeros(DType::bf16, {kRows, f});
    expect_same({h, a}, [&](Schedule schedule) {
      sm90_fp8_expert_up(stream_, kProcessors, {h, a, x8, up8, plan_}, schedule);
    });
  }
}

INSTANTIATE_TEST_SUITE_P(OfType, Schedules, testing::ValuesIn(test::kHalves),
                         [](const auto& type) { return std::string(name_of(type.param)); });
INSTANTIATE_TEST_SUITE_P(OfType, Fp8Schedules, testing::Values(DType::bf16),
                         [](const auto& type) { return std::string(name_of(type.param)); });

}  // namespace
}  // namespace moe::gpu
