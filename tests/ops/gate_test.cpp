// SPDX-License-Identifier: MIT
// The gate on the attention output against PyTorch and against finite differences.
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/compare.h"
#include "support/golden.h"
#include "support/gradcheck.h"

namespace moe::test {
namespace {

class GateTest : public OpsTest {};

TEST_F(GateTest, MatchesTorch) {
  const Golden golden("ops.safetensors", "rotary.");
  const Heads heads{4, 2, 10};
  const Tensor packed = golden.tensor(*this, "packed"), o = golden.tensor(*this, "o");
  const Tensor y = zeros(DType::f32, {7, 4, 10}), d_o = zeros(DType::f32, {7, 4, 10});
  ops().gate_forward(y, o, packed, heads);
  EXPECT_TRUE(close(values(y), golden.values(*this, "y"), kBoundF32));
  ops().gate_backward(d_o, zeros(DType::f32, {7, 120}), golden.tensor(*this, "dy"), o, packed, heads);
  EXPECT_TRUE(close(values(d_o), golden.values(*this, "do"), kBoundF32));
}

TEST_F(GateTest, GradientsAgreeWithFiniteDifferences) {
  const Heads heads{2, 1, 5};
  const Tensor packed = normal("packed", DType::f32, {7, 30}), o = normal("o", DType::f32, {7, 2, 5});
  const Tensor y = zeros(DType::f32, {7, 2, 5}), r = normal("r", DType::f32, {7, 2, 5});
  const Tensor d_o = zeros(DType::f32, {7, 2, 5}), dpacked = zeros(DType::f32, {7, 30});
  const auto scalar = [&] {
    ops().gate_forward(y, o, packed, heads);
    return inner(*this, y, r);
  };
  ops().gate_backward(d_o, dpacked, r, o, packed, heads);
  EXPECT_TRUE(gradient_agrees(*this, d_o, o, scalar));
  EXPECT_TRUE(gradient_agrees(*this, dpacked, packed, scalar));  // the other parts are zero in both
}

TEST_F(GateTest, WorksInPlace) {
  const Heads heads{2, 1, 70};
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Tensor packed = normal("packed", dtype, {3, 420}), o = normal("o", dtype, {3, 2, 70});
    const Tensor dy = normal("dy", dtype, {3, 2, 70}), y = zeros(dtype, {3, 2, 70}),
                 d_o = zeros(dtype, {3, 2, 70});
    const Tensor dpacked = zeros(dtype, {3, 420});
    ops().gate_forward(y, o, packed, heads);
    ops().gate_backward(d_o, dpacked, dy, o, packed, heads);
    const Tensor here = of(dtype, {3, 2, 70}, values(o)), dhere = of(dtype, {3, 2, 70}, values(dy));
    ops().gate_backward(dhere, zeros(dtype, {3, 420}), dhere, here, packed, heads);
    EXPECT_EQ(bytes(dhere), bytes(d_o));
    ops().gate_forward(here, here, packed, heads);
    EXPECT_EQ(bytes(here), bytes(y));
  }
}

TEST_F(GateTest, Bf16MatchesF32OnTheSameInputs) {
  for (const int64_t d : {33, 64}) {
    const Heads heads{21, 1, d};
    const Tensor packed = normal("packed", DType::bf16, {9, 44 * d}, 3),
                 o = normal("o", DType::bf16, {9, 21, d});
    std::vector<std::vector<double>> results;
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const Tensor p = of(dtype, {9, 44 * d}, values(packed)), input = of(dtype, {9, 21, d}, values(o));
      const Tensor y = zeros(dtype, {9, 21, d}), d_o = zeros(dtype, {9, 21, d}),
                   dp = zeros(dtype, {9, 44 * d});
      ops().gate_forward(y, input, p, heads);
      ops().gate_backward(d_o, dp, input, input, p, heads);
      for (const Tensor& result : {y, d_o, dp}) results.push_back(values(result));
    }
    for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(close(results[i + 3], results[i], kBoundBf16));
  }
}

TEST_F(GateTest, SaturatesWithoutNan) {
  const Tensor packed = of<float>(DType::f32, {1, 8}, {0, 0, 1e30F, -1e30F, 0, 0, 0, 0});
  const Tensor o = of<float>(DType::f32, {1, 1, 2}, {3, 3}), dpacked = zeros(DType::f32, {1, 8});
  const Tensor y = zeros(DType::f32, {1, 1, 2});
  ops().gate_forward(y, o, packed, {1, 1, 2});
  EXPECT_EQ(values(y), (std::vector<double>{3, 0}));
  ops().gate_backward(y, dpacked, o, o, packed, {1, 1, 2});
  EXPECT_EQ(values(dpacked), std::vector<double>(8));
}

TEST_F(GateTest, SameBitsWithAnyNumberOfThreads) {
  expect_same_bits([](Machine& machine) {
    const Tensor packed = machine.normal("packed", DType::bf16, {200, 96}),
                 o = machine.normal("o", DType::bf16, {200, 2, 16});
    const Tensor dpacked = machine.zeros(DType::bf16, {200, 96}),
                 y = machine.zeros(DType::bf16, {200, 2, 16});
    machine.ops().gate_forward(y, o, packed, {2, 1, 16});
    const Tensor d_o = machine.zeros(DType::bf16, {200, 2, 16});
    machine.ops().gate_backward(d_o, dpacked, y, o, packed, {2, 1, 16});
    return std::vector{y, d_o, dpacked};
  });
}

TEST_F(GateTest, RefusesWrongShapes) {
  const Heads heads{2, 1, 4};
  const Tensor packed = zeros(DType::f32, {3, 24}), o = zeros(DType::f32, {3, 2, 4});
  EXPECT_NO_THROW(ops().gate_forward(o, o, packed, heads));
  EXPECT_THROW(ops().gate_forward(o, zeros(DType::f32, {2, 2, 4}), packed, heads), InternalError);
  EXPECT_THROW(ops().gate_forward(o, o, zeros(DType::f32, {3, 20}), heads), InternalError);
  EXPECT_THROW(ops().gate_forward(zeros(DType::bf16, {3, 2, 4}), o, packed, heads), InternalError);
  EXPECT_THROW(ops().gate_backward(o, zeros(DType::f32, {3, 16}), o, o, packed, heads), InternalError);
}

}  // namespace
}  // namespace moe::test
