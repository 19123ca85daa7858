// SPDX-License-Identifier: MIT
// matmul in its three forms against double precision, its gradients, its types and its refusals.
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "base/error.h"
#include "support/compare.h"
#include "support/fixture.h"
#include "support/gradcheck.h"
#include "support/reference.h"

namespace moe::test {
namespace {

struct Size {
  int64_t m, n, k;
};

struct Operands {
  Tensor a, b;
  Values exact;
};

Operands make_operands(Machine& machine, DType dtype, MatmulLayout layout, Size s) {
  const bool a_transposed = layout == MatmulLayout::TN, b_transposed = layout == MatmulLayout::NT;
  const auto shape = [](int64_t rows, int64_t columns, bool swap) {
    return swap ? std::vector<int64_t>{columns, rows} : std::vector<int64_t>{rows, columns};
  };
  Operands x;
  x.a = machine.normal("a", dtype, shape(s.m, s.k, a_transposed));
  x.b = machine.normal("b", dtype, shape(s.k, s.n, b_transposed));
  x.exact = reference_product(machine.values(x.a), {static_cast<size_t>(x.a.dim(1)), a_transposed},
                              machine.values(x.b), {static_cast<size_t>(x.b.dim(1)), b_transposed},
                              static_cast<size_t>(s.m), static_cast<size_t>(s.n), static_cast<size_t>(s.k));
  return x;
}

constexpr MatmulLayout kForms[] = {MatmulLayout::NT, MatmulLayout::NN, MatmulLayout::TN};
// The last has several tiles each way with ragged ends.
constexpr Size kSizes[] = {{1, 1, 1},    {1, 33, 5},    {7, 1, 19},    {3, 5, 7},
                           {64, 64, 64}, {65, 31, 130}, {530, 261, 67}};

std::string label(MatmulLayout layout, Size s) {
  return "layout " + std::to_string(static_cast<int>(layout)) + " of " + std::to_string(s.m) + " x " +
         std::to_string(s.n) + " x " + std::to_string(s.k);
}

class MatmulTest : public OpsTest {};

TEST_F(MatmulTest, F32MatchesDoublePrecision) {
  for (const MatmulLayout layout : kForms)
    for (const Size s : kSizes) {
      SCOPED_TRACE(label(layout, s));
      const Operands x = make_operands(*this, DType::f32, layout, s);
      const Tensor c = normal("old", DType::f32, {s.m, s.n});
      ops().matmul(c, x.a, x.b, layout, false);
      EXPECT_TRUE(close(values(c), x.exact, kBoundF32));
    }
}

TEST_F(MatmulTest, RoundedTypesMatchDoublePrecisionOfTheSameInputs) {
  for (const DType in : kHalves)
    for (const DType out : {DType::f32, in})
      for (const MatmulLayout layout : kForms)
        for (const Size s : kSizes) {
          SCOPED_TRACE(label(layout, s));
          const Operands x = make_operands(*this, in, layout, s);
          const Tensor c = normal("old", out, {s.m, s.n});
          ops().matmul(c, x.a, x.b, layout, false);
          EXPECT_TRUE(close(values(c), x.exact, bound_of(out)));
        }
}

TEST_F(MatmulTest, AccumulatesAndRoundsOnce) {
  for (const DType in : kActivations)
    for (const DType out : {DType::f32, in})
      for (const MatmulLayout layout : kForms) {
        const Size s{65, 31, 130};
        SCOPED_TRACE(label(layout, s));
        Operands x = make_operands(*this, in, layout, s);
        const Tensor c = normal("old", out, {s.m, s.n}, 10);
        const auto old = values(c);
        for (size_t i = 0; i < old.size(); ++i) x.exact[i] += old[i];
        ops().matmul(c, x.a, x.b, layout, true);
        EXPECT_TRUE(close(values(c), x.exact, bound_of(out)));
      }
}

TEST_F(MatmulTest, AddsToAnotherTensorAndRoundsOnce) {
  for (const DType in : kActivations)
    for (const DType out : {DType::f32, in}) {
      const Size s{65, 31, 130};
      SCOPED_TRACE(label(MatmulLayout::NT, s));
      Operands x = make_operands(*this, in, MatmulLayout::NT, s);
      const Tensor addend = normal("addend", out, {s.m, s.n}, 10), c = normal("old", out, {s.m, s.n});
      const auto terms = values(addend);
      for (size_t i = 0; i < terms.size(); ++i) x.exact[i] += terms[i];
      ops().matmul_add(c, addend, x.a, x.b);
      EXPECT_TRUE(close(values(c), x.exact, bound_of(out)));
      EXPECT_EQ(values(addend), terms);
    }
}

// Of few rows and odd ends in every direction: products that generation is made of have code of their own on
// a CPU.
TEST_F(MatmulTest, FewRowsMatchDoublePrecision) {
  for (const DType in : kActivations)
    for (const DType out : {DType::f32, in})
      for (const int64_t m : {1, 2, 3, 4, 5})
        for (const auto& [n, k] : {std::pair<int64_t, int64_t>{1, 8}, {4, 7}, {5, 64}, {131, 77}})
          for (const bool accumulate : {false, true}) {
            const Size s{m, n, k};
            SCOPED_TRACE(label(MatmulLayout::NT, s));
            Operands x = make_operands(*this, in, MatmulLayout::NT, s);
            const Tensor c = normal("old", out, {m, n}, 10);
            const auto old = values(c);
            for (size_t i = 0; i < old.size() && accumulate; ++i) x.exact[i] += old[i];
            ops().matmul(c, x.a, x.b, MatmulLayout::NT, accumulate);
            EXPECT_TRUE(close(values(c), x.exact, bound_of(out)));
          }
}

// Weight gradients of many tokens: a GPU may add them up in parts, which are rounded together once.
TEST_F(MatmulTest, LongSumsMatchDoublePrecision) {
  for (const auto& [in, out] : {std::pair{DType::f32, DType::f32},
                                {DType::bf16, DType::f32},
                                {DType::bf16, DType::bf16},
                                {DType::f16, DType::f16}})
    for (const bool accumulate : {false, true})
      for (const Size s : {Size{24, 16, 8192}, Size{5, 3, 2048}}) {
        SCOPED_TRACE(label(MatmulLayout::TN, s));
        Operands x = make_operands(*this, in, MatmulLayout::TN, s);
        const Tensor c = normal("old", out, {s.m, s.n}, 10);
        const auto old = values(c);
        for (size_t i = 0; i < old.size() && accumulate; ++i) x.exact[i] += old[i];
        ops().matmul(c, x.a, x.b, MatmulLayout::TN, accumulate);
        EXPECT_TRUE(close(values(c), x.exact, bound_of(out)));
      }
}

TEST(MatmulTf32Test, OperandsAreRoundedOnAGpuOnly) {
  Machine machine(2, {DType::f32, true});
  for (const MatmulLayout layout : kForms)
    for (const Size s : kSizes) {
      if (s.m * s.n < 30) continue;  // the bound is a mean: a few results may lie far from it
      SCOPED_TRACE(label(layout, s));
      // The library rounds only where rows begin at multiples of 16 bytes; elsewhere its products are f32.
      const bool gpu = test_device() == "gpu", rounds = gpu && s.m % 4 == 0 && s.n % 4 == 0 && s.k % 4 == 0;
      Operands x = make_operands(machine, DType::f32, layout, s);
      const Tensor c = machine.normal("old", DType::f32, {s.m, s.n});
      const auto old = machine.values(c);
      for (size_t i = 0; i < old.size(); ++i) x.exact[i] += old[i];
      machine.ops().matmul(c, x.a, x.b, layout, true);
      EXPECT_TRUE(close(machine.values(c), x.exact, gpu ? kBoundTf32 : kBoundF32));
      if (rounds) {
        EXPECT_GT(normalised_error(machine.values(c), x.exact), kBoundF32) << "not TF32 at all";
      }
    }
}

TEST_F(MatmulTest, NoTermsGiveZeroOrLeaveTheSum) {
  const Tensor c = normal("c", DType::f32, {3, 4});
  const auto old = values(c);
  ops().matmul(c, zeros(DType::f32, {3, 0}), zeros(DType::f32, {4, 0}), MatmulLayout::NT, true);
  EXPECT_EQ(values(c), old);
  ops().matmul(c, zeros(DType::f32, {3, 0}), zeros(DType::f32, {4, 0}), MatmulLayout::NT, false);
  EXPECT_EQ(values(c), Values(12));
}

// The other two forms are the gradients of NT: y = x w^T, dx = dy w, dw = dy^T x.
TEST_F(MatmulTest, GradientsAgreeWithFiniteDifferences) {
  const Tensor x = normal("x", DType::f32, {5, 7}), w = normal("w", DType::f32, {3, 7});
  const Tensor y = zeros(DType::f32, {5, 3}), dy = normal("dy", DType::f32, {5, 3});
  const auto loss = [&] {
    ops().matmul(y, x, w, MatmulLayout::NT, false);
    return inner(*this, y, dy);
  };
  const Tensor dx = zeros(DType::f32, {5, 7}), dw = zeros(DType::f32, {3, 7});
  ops().matmul(dx, dy, w, MatmulLayout::NN, false);
  ops().matmul(dw, dy, x, MatmulLayout::TN, true);
  EXPECT_TRUE(gradient_agrees(*this, dx, x, loss));
  EXPECT_TRUE(gradient_agrees(*this, dw, w, loss));
}

TEST(MatmulThreadsTest, SameBitsWithAnyNumberOfThreads) {
  for (const DType dtype : kActivations)
    for (const MatmulLayout layout : kForms) {
      std::vector<uint8_t> expected;
      for (const int threads : {1, 2, 3}) {
        Machine machine(threads);
        const Operands x = make_operands(machine, dtype, layout, {530, 261, 67});
        const Tensor c = machine.zeros(dtype, {530, 261});
        machine.ops().matmul(c, x.a, x.b, layout, false);
        const auto bits = machine.bytes(c);
        if (threads == 1) expected = bits;
        EXPECT_EQ(bits, expected) << threads << " threads";
      }
    }
}

TEST_F(MatmulTest, RefusesWrongShapesAndTypes) {
  const Tensor a = zeros(DType::f32, {4, 6}), b = zeros(DType::f32, {5, 6}), c = zeros(DType::f32, {4, 5});
  EXPECT_NO_THROW(ops().matmul(c, a, b, MatmulLayout::NT, false));
  EXPECT_THROW(ops().matmul(c, a, b, MatmulLayout::NN, false), InternalError);
  EXPECT_THROW(ops().matmul(c, a, b, MatmulLayout::TN, false), InternalError);
  EXPECT_THROW(ops().matmul(zeros(DType::f32, {5, 4}), a, b, MatmulLayout::NT, false), InternalError);
  EXPECT_THROW(ops().matmul(zeros(DType::f32, {20}), a, b, MatmulLayout::NT, false), InternalError);
  EXPECT_THROW(ops().matmul(c, a, zeros(DType::bf16, {5, 6}), MatmulLayout::NT, false), InternalError);
  EXPECT_THROW(ops().matmul(zeros(DType::bf16, {4, 5}), a, b, MatmulLayout::NT, false), InternalError);
  const Tensor a16 = zeros(DType::bf16, {6, 4}), b16 = zeros(DType::bf16, {6, 5});
  EXPECT_NO_THROW(ops().matmul(zeros(DType::bf16, {4, 5}), a16, b16, MatmulLayout::TN, false));
  EXPECT_NO_THROW(ops().matmul(zeros(DType::bf16, {4, 5}), a16, b16, MatmulLayout::TN, true));
}

}  // namespace
}  // namespace moe::test
