// SPDX-License-Identifier: MIT
// The gate on the attention output against PyTorch and against finite differences.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "support/compare.h"
#include "support/golden.h"
#include "support/gradcheck.h"

namespace moe::test {
namespace {

// The outputs of gate_backward for n tokens.
struct Gate {
  Heads heads;
  Tensor d_o, delta, dpacked;

  Gate(Machine& machine, DType dtype, int64_t n, Heads h)
      : heads(h),
        d_o(machine.zeros(dtype, {n, h.query, h.dim})),
        delta(machine.zeros(DType::f32, {n, h.query})),
        dpacked(machine.zeros(dtype, {n, h.packed()})) {}
  void run(Machine& machine, const Tensor& dy, const Tensor& y, const Tensor& packed) const {
    machine.ops().gate_backward({d_o, delta, dpacked, dy, y, packed, heads});
  }
};

class GateTest : public OpsTest {
 protected:
  // sigmoid(gate) * o.
  Tensor gated(const Tensor& o, const Tensor& packed, const Heads& heads) {
    auto y = values(o);
    const auto rows = values(packed);
    for (size_t i = 0; i < y.size(); ++i) {
      const auto at = static_cast<int64_t>(i), head = at / heads.dim, token = head / heads.query;
      const int64_t gate = token * heads.packed() + heads.gate(head % heads.query) + at % heads.dim;
      y[i] /= 1 + std::exp(-rows[static_cast<size_t>(gate)]);
    }
    return of(o.dtype(), {o.dim(0), o.dim(1), o.dim(2)}, y);
  }
};

TEST_F(GateTest, MatchesTorch) {
  const Golden golden("ops.safetensors", "rotary.");
  const Gate gate(*this, DType::f32, 7, {4, 2, 10});
  const Tensor packed = golden.tensor(*this, "packed"), y = golden.tensor(*this, "y");
  EXPECT_TRUE(close(values(gated(golden.tensor(*this, "o"), packed, gate.heads)), values(y), kBoundF32));
  gate.run(*this, golden.tensor(*this, "dy"), y, packed);
  EXPECT_TRUE(close(values(gate.d_o), golden.values(*this, "do"), kBoundF32));
}

TEST_F(GateTest, GradientsAgreeWithFiniteDifferences) {
  const Gate gate(*this, DType::f32, 7, {2, 1, 5});
  const Tensor packed = normal("packed", DType::f32, {7, 30}), o = normal("o", DType::f32, {7, 2, 5});
  const Tensor r = normal("r", DType::f32, {7, 2, 5});
  const auto scalar = [&] { return inner(*this, gated(o, packed, gate.heads), r); };
  gate.run(*this, r, gated(o, packed, gate.heads), packed);
  EXPECT_TRUE(gradient_agrees(*this, gate.d_o, o, scalar));
  EXPECT_TRUE(gradient_agrees(*this, gate.dpacked, packed, scalar));  // the other parts are zero in both
}

TEST_F(GateTest, WithoutAGateOnlyDeltaIsWritten) {
  for (const DType dtype : kActivations)
    for (const int64_t d : {4, 33, 64, 128, 200}) {
      const Heads heads{3, 1, d, false};
      const Tensor dy = normal("dy", dtype, {5, 3, d}), y = normal("y", dtype, {5, 3, d});
      const Tensor delta = zeros(DType::f32, {5, 3}), dpacked = normal("old", dtype, {5, heads.packed()});
      const auto before = bytes(dpacked), dy_before = bytes(dy);
      ops().gate_backward({dy, delta, dpacked, dy, y, normal("packed", dtype, {5, heads.packed()}), heads});
      const auto a = values(dy), b = values(y);
      std::vector<double> expected(15);
      for (size_t i = 0; i < a.size(); ++i) expected[i / static_cast<size_t>(d)] += a[i] * b[i];
      EXPECT_TRUE(close(values(delta), expected, kBoundF32)) << d;
      EXPECT_EQ(bytes(dpacked), before);
      EXPECT_EQ(bytes(dy), dy_before);
    }
}

// Widths that lanes share in different ways, and one with more elements than lanes take at once.
TEST_F(GateTest, DeltaIsTheProductOfOutputAndItsGradient) {
  for (const DType dtype : kActivations)
    for (const int64_t d : {4, 33, 64, 128, 200}) {
      const Gate gate(*this, dtype, 5, {3, 1, d});
      const Tensor dy = normal("dy", dtype, {5, 3, d}), y = normal("y", dtype, {5, 3, d});
      gate.run(*this, dy, y, normal("packed", dtype, {5, 8 * d}));
      const auto a = values(dy), b = values(y);
      std::vector<double> delta(15);
      for (size_t i = 0; i < a.size(); ++i) delta[i / static_cast<size_t>(d)] += a[i] * b[i];
      EXPECT_TRUE(close(values(gate.delta), delta, kBoundF32)) << d;
    }
}

TEST_F(GateTest, WorksInPlace) {
  for (const DType dtype : kActivations) {
    const Gate gate(*this, dtype, 3, {2, 1, 70});
    Gate here(*this, dtype, 3, {2, 1, 70});
    const Tensor packed = normal("packed", dtype, {3, 420}), y = normal("y", dtype, {3, 2, 70});
    const Tensor dy = normal("dy", dtype, {3, 2, 70});
    gate.run(*this, dy, y, packed);
    here.d_o = of(dtype, {3, 2, 70}, values(dy));
    here.run(*this, here.d_o, y, packed);
    EXPECT_EQ(bytes(here.d_o), bytes(gate.d_o));
    EXPECT_EQ(bytes(here.dpacked), bytes(gate.dpacked));
    EXPECT_EQ(bytes(here.delta), bytes(gate.delta));
  }
}

TEST_F(GateTest, RoundedTypesMatchF32OnTheSameInputs) {
  for (const DType half : kHalves)
    for (const int64_t d : {33, 64}) {
      const Tensor packed = normal("packed", half, {9, 44 * d}, 3), y = normal("y", half, {9, 21, d});
      std::vector<std::vector<double>> results;
      for (const DType dtype : {DType::f32, half}) {
        const Tensor p = of(dtype, {9, 44 * d}, values(packed)), input = of(dtype, {9, 21, d}, values(y));
        const Gate gate(*this, dtype, 9, {21, 1, d});
        gate.run(*this, input, input, p);
        for (const Tensor& result : {gate.d_o, gate.dpacked}) results.push_back(values(result));
      }
      for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(close(results[i + 2], results[i], bound_of(half)));
    }
}

TEST_F(GateTest, SaturatesWithoutNan) {
  const Tensor packed = of<float>(DType::f32, {1, 8}, {0, 0, 1e30F, -1e30F, 0, 0, 0, 0});
  const Tensor dy = of<float>(DType::f32, {1, 1, 2}, {3, 3}), y = of<float>(DType::f32, {1, 1, 2}, {3, 0});
  const Gate gate(*this, DType::f32, 1, {1, 1, 2});
  gate.run(*this, dy, y, packed);
  EXPECT_EQ(values(gate.d_o), (std::vector<double>{3, 0}));
  EXPECT_EQ(values(gate.delta), std::vector<double>{9});
  EXPECT_EQ(values(gate.dpacked), std::vector<double>(8));
}

TEST_F(GateTest, SameBitsWithAnyNumberOfThreads) {
  expect_same_bits([](Machine& machine) {
    const Gate gate(machine, DType::bf16, 200, {2, 1, 16});
    const Tensor y = machine.normal("y", DType::bf16, {200, 2, 16});
    gate.run(machine, y, y, machine.normal("packed", DType::bf16, {200, 96}));
    return std::vector{gate.d_o, gate.delta, gate.dpacked};
  });
}

TEST_F(GateTest, RefusesWrongShapes) {
  const Tensor packed = zeros(DType::f32, {3, 24}), y = zeros(DType::f32, {3, 2, 4});
  const Gate good(*this, DType::f32, 3, {2, 1, 4});
  EXPECT_NO_THROW(good.run(*this, y, y, packed));
  EXPECT_THROW(good.run(*this, y, zeros(DType::f32, {2, 2, 4}), packed), InternalError);
  EXPECT_THROW(good.run(*this, y, y, zeros(DType::f32, {3, 20})), InternalError);
  const auto refused = [&](auto change) {
    Gate bad = good;
    change(bad);
    EXPECT_THROW(bad.run(*this, y, y, packed), InternalError);
  };
  refused([&](Gate& gate) { gate.d_o = zeros(DType::bf16, {3, 2, 4}); });
  refused([&](Gate& gate) { gate.delta = zeros(DType::f32, {3, 4}); });
  refused([&](Gate& gate) { gate.dpacked = zeros(DType::f32, {3, 16}); });
}

}  // namespace
}  // namespace moe::test
