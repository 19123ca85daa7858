// SPDX-License-Identifier: MIT
// The gate on the attention output against PyTorch and against finite differences.
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/compare.h"
#include "support/golden.h"
#include "support/gradcheck.h"

namespace moe::test {
namespace {

// The outputs of gate_backward for n tokens.
struct Gate {
  Heads heads;
  Tensor d_o, y, delta, dpacked;

  Gate(Machine& machine, DType dtype, int64_t n, Heads h)
      : heads(h),
        d_o(machine.zeros(dtype, {n, h.query, h.dim})),
        y(machine.zeros(dtype, {n, h.query, h.dim})),
        delta(machine.zeros(DType::f32, {n, h.query})),
        dpacked(machine.zeros(dtype, {n, h.packed()})) {}
  void run(Machine& machine, const Tensor& dy, const Tensor& o, const Tensor& packed) const {
    machine.ops().gate_backward({d_o, y, delta, dpacked, dy, o, packed, heads});
  }
};

class GateTest : public OpsTest {};

TEST_F(GateTest, MatchesTorch) {
  const Golden golden("ops.safetensors", "rotary.");
  const Gate gate(*this, DType::f32, 7, {4, 2, 10});
  gate.run(*this, golden.tensor(*this, "dy"), golden.tensor(*this, "o"), golden.tensor(*this, "packed"));
  EXPECT_TRUE(close(values(gate.y), golden.values(*this, "y"), kBoundF32));
  EXPECT_TRUE(close(values(gate.d_o), golden.values(*this, "do"), kBoundF32));
}

TEST_F(GateTest, GradientsAgreeWithFiniteDifferences) {
  const Gate gate(*this, DType::f32, 7, {2, 1, 5}), moved(*this, DType::f32, 7, {2, 1, 5});
  const Tensor packed = normal("packed", DType::f32, {7, 30}), o = normal("o", DType::f32, {7, 2, 5});
  const Tensor r = normal("r", DType::f32, {7, 2, 5});
  const auto scalar = [&] {
    moved.run(*this, r, o, packed);
    return inner(*this, moved.y, r);
  };
  gate.run(*this, r, o, packed);
  EXPECT_TRUE(gradient_agrees(*this, gate.d_o, o, scalar));
  EXPECT_TRUE(gradient_agrees(*this, gate.dpacked, packed, scalar));  // the other parts are zero in both
}

TEST_F(GateTest, WithoutAGateOnlyDeltaIsWritten) {
  for (const DType dtype : kActivations)
    for (const int64_t d : {4, 33, 64, 128, 200}) {
      const Heads heads{3, 1, d, false};
      const Tensor dy = normal("dy", dtype, {5, 3, d}), o = normal("o", dtype, {5, 3, d});
      const Tensor delta = zeros(DType::f32, {5, 3}), dpacked = normal("old", dtype, {5, heads.packed()});
      const auto before = bytes(dpacked), dy_before = bytes(dy), o_before = bytes(o);
      ops().gate_backward(
          {dy, o, delta, dpacked, dy, o, normal("packed", dtype, {5, heads.packed()}), heads});
      const auto a = values(dy), b = values(o);
      std::vector<double> expected(15);
      for (size_t i = 0; i < a.size(); ++i) expected[i / static_cast<size_t>(d)] += a[i] * b[i];
      EXPECT_TRUE(close(values(delta), expected, kBoundF32)) << d;
      EXPECT_EQ(bytes(dpacked), before);
      EXPECT_EQ(bytes(dy), dy_before);
      EXPECT_EQ(bytes(o), o_before);
    }
}

// Widths that lanes share in different ways, and one with more elements than lanes take at once.
TEST_F(GateTest, DeltaIsTheProductOfOutputAndItsGradient) {
  for (const DType dtype : kActivations)
    for (const int64_t d : {4, 33, 64, 128, 200}) {
      const Gate gate(*this, dtype, 5, {3, 1, d});
      const Tensor o = normal("o", dtype, {5, 3, d});
      gate.run(*this, normal("dy", dtype, {5, 3, d}), o, normal("packed", dtype, {5, 8 * d}));
      const auto a = values(gate.d_o), b = values(o);
      std::vector<double> delta(15);
      for (size_t i = 0; i < a.size(); ++i) delta[i / static_cast<size_t>(d)] += a[i] * b[i];
      EXPECT_TRUE(close(values(gate.delta), delta, kBoundF32)) << d;
    }
}

TEST_F(GateTest, WorksInPlace) {
  for (const DType dtype : kActivations) {
    const Gate gate(*this, dtype, 3, {2, 1, 70});
    Gate here(*this, dtype, 3, {2, 1, 70});
    const Tensor packed = normal("packed", dtype, {3, 420}), o = normal("o", dtype, {3, 2, 70});
    const Tensor dy = normal("dy", dtype, {3, 2, 70});
    gate.run(*this, dy, o, packed);
    here.d_o = of(dtype, {3, 2, 70}, values(dy));
    here.run(*this, here.d_o, o, packed);
    EXPECT_EQ(bytes(here.d_o), bytes(gate.d_o));
    EXPECT_EQ(bytes(here.dpacked), bytes(gate.dpacked));
    EXPECT_EQ(bytes(here.y), bytes(gate.y));
  }
}

TEST_F(GateTest, RoundedTypesMatchF32OnTheSameInputs) {
  for (const DType half : kHalves)
    for (const int64_t d : {33, 64}) {
      const Tensor packed = normal("packed", half, {9, 44 * d}, 3), o = normal("o", half, {9, 21, d});
      std::vector<std::vector<double>> results;
      for (const DType dtype : {DType::f32, half}) {
        const Tensor p = of(dtype, {9, 44 * d}, values(packed)), input = of(dtype, {9, 21, d}, values(o));
        const Gate gate(*this, dtype, 9, {21, 1, d});
        gate.run(*this, input, input, p);
        for (const Tensor& result : {gate.y, gate.d_o, gate.dpacked}) results.push_back(values(result));
      }
      for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(close(results[i + 3], results[i], bound_of(half)));
    }
}

TEST_F(GateTest, SaturatesWithoutNan) {
  const Tensor packed = of<float>(DType::f32, {1, 8}, {0, 0, 1e30F, -1e30F, 0, 0, 0, 0});
  const Tensor o = of<float>(DType::f32, {1, 1, 2}, {3, 3});
  const Gate gate(*this, DType::f32, 1, {1, 1, 2});
  gate.run(*this, o, o, packed);
  EXPECT_EQ(values(gate.y), (std::vector<double>{3, 0}));
  EXPECT_EQ(values(gate.d_o), (std::vector<double>{3, 0}));
  EXPECT_EQ(values(gate.dpacked), std::vector<double>(8));
}

TEST_F(GateTest, SameBitsWithAnyNumberOfThreads) {
  expect_same_bits([](Machine& machine) {
    const Gate gate(machine, DType::bf16, 200, {2, 1, 16});
    const Tensor o = machine.normal("o", DType::bf16, {200, 2, 16});
    gate.run(machine, o, o, machine.normal("packed", DType::bf16, {200, 96}));
    return std::vector{gate.y, gate.d_o, gate.delta, gate.dpacked};
  });
}

TEST_F(GateTest, RefusesWrongShapes) {
  const Tensor packed = zeros(DType::f32, {3, 24}), o = zeros(DType::f32, {3, 2, 4});
  const Gate good(*this, DType::f32, 3, {2, 1, 4});
  EXPECT_NO_THROW(good.run(*this, o, o, packed));
  EXPECT_THROW(good.run(*this, o, zeros(DType::f32, {2, 2, 4}), packed), InternalError);
  EXPECT_THROW(good.run(*this, o, o, zeros(DType::f32, {3, 20})), InternalError);
  const auto refused = [&](auto change) {
    Gate bad = good;
    change(bad);
    EXPECT_THROW(bad.run(*this, o, o, packed), InternalError);
  };
  refused([&](Gate& gate) { gate.y = zeros(DType::bf16, {3, 2, 4}); });
  refused([&](Gate& gate) { gate.delta = zeros(DType::f32, {3, 4}); });
  refused([&](Gate& gate) { gate.dpacked = zeros(DType::f32, {3, 16}); });
}

}  // namespace
}  // namespace moe::test
