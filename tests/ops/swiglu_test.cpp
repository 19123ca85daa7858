// SPDX-License-Identifier: MIT
// The experts' activation against PyTorch and against finite differences, and the rows it must leave alone.
#include <gtest/gtest.h>

#include <numeric>

#include "base/error.h"
#include "support/compare.h"
#include "support/golden.h"
#include "support/gradcheck.h"

namespace moe::test {
namespace {

// One expert per token: row r is token r, the first `used` of them; the others are padding.
RoutePlan plain_plan(Machine& machine, int64_t rows, int64_t used) {
  RoutePlan plan{machine.zeros(DType::i32, {2}), machine.zeros(DType::i32, {rows}),
                 machine.zeros(DType::i32, {rows}), machine.zeros(DType::i32, {1}),
                 machine.zeros(DType::i32, {1})};
  std::vector<int> expert(static_cast<size_t>(rows), -1);
  std::fill(expert.begin(), expert.begin() + used, 0);
  machine.ops().route_plan(plan, machine.of(DType::i32, {rows, 1}, expert), {});
  return plan;
}

class SwigluTest : public OpsTest {};

TEST_F(SwigluTest, MatchesTorch) {
  const Golden golden("ops.safetensors", "swiglu.");
  const RoutePlan plan = plain_plan(*this, 6, 6);
  for (const DType dtype : kActivations) {
    // 16 bits: both inputs are rounded, one of them counts twice, and then the result: 4 roundings.
    const double bound = dtype == DType::f32 ? kBoundF32 : 4 * bound_of(dtype);
    const Tensor h = golden.tensor(*this, "h", dtype), a = zeros(dtype, {6, 37}), dh = zeros(dtype, {6, 74});
    const Tensor dweight = zeros(DType::f32, {6, 1});
    ops().swiglu_forward(a, h, plan);
    EXPECT_TRUE(close(values(a), golden.values(*this, "a"), bound));
    ops().swiglu_backward(
        {dh, a, dweight, golden.tensor(*this, "da", dtype), h, golden.tensor(*this, "weight"), plan});
    EXPECT_TRUE(close(values(a), golden.values(*this, "weighted"), bound));
    EXPECT_TRUE(close(values(dh), golden.values(*this, "dh"), bound));
    EXPECT_TRUE(close(values(dweight), golden.values(*this, "dweight"), bound));
  }
}

TEST_F(SwigluTest, GradientsAgreeWithFiniteDifferences) {
  for (const int64_t rows : {1, 7}) {
    const RoutePlan plan = plain_plan(*this, rows, rows);
    const Tensor h = normal("h", DType::f32, {rows, 22}), a = zeros(DType::f32, {rows, 11});
    const Tensor weight = normal("weight", DType::f32, {rows, 1}), r = normal("r", DType::f32, {rows, 11});
    const Tensor y = zeros(DType::f32, {rows, 11}), none;
    const Tensor dh = zeros(DType::f32, {rows, 22}), dweight = zeros(DType::f32, {rows, 1});
    const auto scalar = [&] {
      ops().swiglu_forward(a, h, plan);
      ops().combine_rows({y, none, a, weight, plan});
      return inner(*this, y, r);
    };
    scalar();
    const auto weighted = values(y);
    ops().swiglu_backward({dh, a, dweight, r, h, weight, plan});
    EXPECT_TRUE(close(values(a), weighted, kBoundF32));
    EXPECT_TRUE(gradient_agrees(*this, dh, h, scalar));
    EXPECT_TRUE(gradient_agrees(*this, dweight, weight, scalar));
  }
}

TEST_F(SwigluTest, RoundedTypesMatchF32OnTheSameInputsAlsoInPlace) {
  for (const DType half : kHalves)
    for (const int64_t f : {150, 520}) {
      const int64_t rows = 33;
      const RoutePlan plan = plain_plan(*this, rows, rows);
      const Tensor h = normal("h", half, {rows, 2 * f}, 3), da = normal("da", half, {rows, f});
      const Tensor weight = normal("weight", DType::f32, {rows, 1});
      std::vector<std::vector<double>> results;
      for (const DType dtype : {DType::f32, half}) {
        const Tensor input = of(dtype, {rows, 2 * f}, values(h)), a = zeros(dtype, {rows, f});
        const Tensor dh = zeros(dtype, {rows, 2 * f}), dweight = zeros(DType::f32, {rows, 1});
        const Tensor gradient = of(dtype, {rows, f}, values(da));
        ops().swiglu_forward(a, input, plan);
        results.push_back(values(a));
        ops().swiglu_backward({dh, a, dweight, gradient, input, weight, plan});
        for (const Tensor& result : {a, dh, dweight}) results.push_back(values(result));
        ops().swiglu_backward({input, a, dweight, gradient, input, weight, plan});
        EXPECT_EQ(bytes(input), bytes(dh)) << "dh may be h";
      }
      for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(close(results[i + 4], results[i], bound_of(half)));
    }
}

TEST_F(SwigluTest, RowsOutOfUseStayAndDroppedWeightsGetNoGradient) {
  const RoutePlan plan = plain_plan(*this, 9, 4);
  const Tensor h = normal("h", DType::f32, {9, 10}), da = normal("da", DType::f32, {9, 5});
  const Tensor a = zeros(DType::f32, {9, 5}), dh = zeros(DType::f32, {9, 10}),
               dweight = zeros(DType::f32, {9, 1});
  const Tensor weight = normal("weight", DType::f32, {9, 1});
  for (const Tensor& t : {a, dh, dweight}) ops().fill(t, 7);
  ops().swiglu_forward(a, h, plan);
  ops().swiglu_backward({dh, a, dweight, da, h, weight, plan});
  const auto got = values(a), gradient = values(dh), gradient_of_weight = values(dweight);
  for (size_t i = 0; i < 45; ++i) EXPECT_EQ(got[i] == 7, i >= 20);
  for (size_t i = 0; i < 90; ++i) EXPECT_EQ(gradient[i] == 7, i >= 40);
  for (size_t i = 0; i < 9; ++i) EXPECT_EQ(gradient_of_weight[i] == 0, i >= 4);
}

TEST_F(SwigluTest, SameBitsWithAnyNumberOfThreads) {
  expect_same_bits([](Machine& machine) {
    const RoutePlan plan = plain_plan(machine, 200, 150);
    const Tensor h = machine.normal("h", DType::bf16, {200, 60}),
                 da = machine.normal("da", DType::bf16, {200, 30});
    const Tensor a = machine.zeros(DType::bf16, {200, 30}), dweight = machine.zeros(DType::f32, {200, 1});
    machine.ops().swiglu_backward({h, a, dweight, da, h, machine.normal("w", DType::f32, {200, 1}), plan});
    return std::vector{h, a, dweight};
  });
}

TEST_F(SwigluTest, RefusesWrongShapes) {
  const RoutePlan plan = plain_plan(*this, 4, 4);
  const Tensor h = zeros(DType::f32, {4, 6}), a = zeros(DType::f32, {4, 3}),
               weight = zeros(DType::f32, {4, 1});
  EXPECT_NO_THROW(ops().swiglu_forward(a, h, plan));
  EXPECT_THROW(ops().swiglu_forward(a, zeros(DType::f32, {4, 5}), plan), InternalError);
  EXPECT_THROW(ops().swiglu_forward(zeros(DType::bf16, {4, 3}), h, plan), InternalError);
  EXPECT_THROW(ops().swiglu_forward(zeros(DType::f32, {5, 3}), zeros(DType::f32, {5, 6}), plan),
               InternalError);
  EXPECT_THROW(ops().swiglu_backward({a, a, weight, a, h, weight, plan}), InternalError);
  EXPECT_THROW(ops().swiglu_backward({h, a, zeros(DType::f32, {5, 1}), a, h, weight, plan}), InternalError);
}

}  // namespace
}  // namespace moe::test
