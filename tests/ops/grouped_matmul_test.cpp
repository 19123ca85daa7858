// SPDX-License-Identifier: MIT
// grouped_matmul against double precision per expert: uneven experts, empty ones, one that has all rows, and
// rows in use short of the end.
#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "support/compare.h"
#include "support/fixture.h"
#include "support/gradcheck.h"
#include "support/reference.h"

namespace moe::test {
namespace {

// Rows in use (the last offset) may be less than R.
struct Case {
  const char* name;
  int64_t rows;
  std::vector<int32_t> offset;
};

const std::vector<Case> kCases = {
    {"uneven", 41, {0, 7, 8, 29, 41}},
    {"first, middle and last are empty", 20, {0, 0, 13, 13, 20, 20}},
    {"one expert has all", 300, {0, 0, 0, 300}},
    {"rows are left over", 50, {0, 10, 33}},
    {"no rows in use", 5, {0, 0, 0}},
};
// Odd widths, which are moved element by element; wider ones of whole vectors; and, in 16 bits, some of whole
// tiles, for the kernels that ask for them.
struct Widths {
  int64_t in, out;
};
constexpr Widths kWidths[] = {{37, 19}, {72, 136}}, kTileWidths = {264, 192};

// The block of `values` that holds rows [begin, end).
Values block(const Values& values, size_t begin, size_t end, size_t width) {
  return {values.begin() + static_cast<std::ptrdiff_t>(begin * width),
          values.begin() + static_cast<std::ptrdiff_t>(end * width)};
}

class GroupedMatmulTest : public OpsTest {
 public:
  explicit GroupedMatmulTest(Arithmetic arithmetic = {}) : OpsTest(arithmetic) {}

  double f32_bound = kBoundF32;

  // What each layout should give. a [R, .] and b: weights [E, out, in], or rows [R, .] for TN.
  Values expected(const Tensor& c, const Tensor& a, const Tensor& b, const std::vector<int32_t>& offset,
                  MatmulLayout layout, bool accumulate) {
    Values result = values(c);
    const Values all_a = values(a), all_b = values(b);
    const auto m_width = static_cast<size_t>(a.dim(1)), n_width = static_cast<size_t>(c.dim(c.rank() - 1));
    for (size_t e = 0; e + 1 < offset.size(); ++e) {
      const auto begin = static_cast<size_t>(offset[e]), end = static_cast<size_t>(offset[e + 1]),
                 n = end - begin;
      const Values rows = block(all_a, begin, end, m_width);
      Values y;
      size_t at = begin * n_width;
      if (layout == MatmulLayout::TN) {
        y = reference_product(rows, {m_width, true}, block(all_b, begin, end, n_width), {n_width}, m_width,
                              n_width, n);
        at = e * m_width * n_width;
      } else {
        const size_t size = m_width * n_width, stride = layout == MatmulLayout::NT ? m_width : n_width;
        y = reference_product(rows, {m_width}, block(all_b, e, e + 1, size),
                              {stride, layout == MatmulLayout::NT}, n, n_width, m_width);
      }
      for (size_t i = 0; i < y.size(); ++i) result[at + i] = y[i] + (accumulate ? result[at + i] : 0);
    }
    return result;
  }

  void check(DType in, DType out, MatmulLayout layout, bool accumulate) {
    for (const Case& c : kCases)
      for (const Widths width : kWidths) check(c, width, in, out, layout, accumulate);
    if (in != DType::f32) check(kCases[0], kTileWidths, in, out, layout, accumulate);
    if (in != DType::f32) check(kCases[2], kTileWidths, in, out, layout, accumulate);
  }

  void check(const Case& c, Widths width, DType in, DType out, MatmulLayout layout, bool accumulate) {
    SCOPED_TRACE(c.name + std::string(", width ") + std::to_string(width.in));
    const auto experts = static_cast<int64_t>(c.offset.size()) - 1;
    const Tensor offset = of(DType::i32, {experts + 1}, c.offset);
    const Tensor a = normal("a", in, {c.rows, layout == MatmulLayout::NT ? width.in : width.out});
    const Tensor b = layout == MatmulLayout::TN ? normal("b", in, {c.rows, width.in})
                                                : normal("w", in, {experts, width.out, width.in});
    const Tensor y = layout == MatmulLayout::TN   ? normal("old", out, {experts, width.out, width.in})
                     : layout == MatmulLayout::NT ? normal("old", out, {c.rows, width.out})
                                                  : normal("old", out, {c.rows, width.in});
    const Values exact = expected(y, a, b, c.offset, layout, accumulate);
    const auto before = bytes(y);
    ops().grouped_matmul(y, a, b, offset, layout, accumulate);
    EXPECT_TRUE(close(values(y), exact, out == DType::f32 ? f32_bound : bound_of(out)));
    if (layout == MatmulLayout::TN) return;
    const size_t used = before.size() / static_cast<size_t>(c.rows) * static_cast<size_t>(c.offset.back());
    const auto after = bytes(y);
    EXPECT_TRUE(std::equal(before.begin() + static_cast<std::ptrdiff_t>(used), before.end(),
                           after.begin() + static_cast<std::ptrdiff_t>(used)))
        << "rows past the last offset were written";
  }
};

TEST_F(GroupedMatmulTest, F32MatchesDoublePrecision) {
  for (const MatmulLayout layout : {MatmulLayout::NT, MatmulLayout::NN, MatmulLayout::TN})
    for (const bool accumulate : {false, true}) check(DType::f32, DType::f32, layout, accumulate);
}

TEST_F(GroupedMatmulTest, RoundedTypesMatchDoublePrecision) {
  for (const DType half : kHalves)
    for (const bool accumulate : {false, true})
      for (const MatmulLayout layout : {MatmulLayout::NT, MatmulLayout::NN, MatmulLayout::TN})
        for (const DType out : {DType::f32, half}) check(half, out, layout, accumulate);
}

class GroupedTf32Test : public GroupedMatmulTest {
 public:
  GroupedTf32Test() : GroupedMatmulTest({DType::f32, true}) {
    if (test_device() == "gpu") f32_bound = kBoundTf32;
  }
};

TEST_F(GroupedTf32Test, MatchesDoublePrecisionOfRoundedOperands) {
  for (const MatmulLayout layout : {MatmulLayout::NT, MatmulLayout::NN, MatmulLayout::TN})
    for (const bool accumulate : {false, true}) {
      check(DType::f32, DType::f32, layout, accumulate);
      check(kCases[0], kTileWidths, DType::f32, DType::f32, layout, accumulate);
    }
}

// Whole numbers up to 2^11 have a place in TF32, others lose their last bits on a GPU and nowhere else.
TEST_F(GroupedTf32Test, OnlyTheMantissaIsShortened) {
  const Tensor offset = of<int32_t>(DType::i32, {2}, {0, 2});
  const Tensor a = of<float>(DType::f32, {2, 2}, {2047, 1, 2049, 0}),
               w = of<float>(DType::f32, {1, 1, 2}, {1, 0x1p-20F});
  const Tensor y = zeros(DType::f32, {2, 1});
  ops().grouped_matmul(y, a, w, offset, MatmulLayout::NT, false);
  EXPECT_EQ(values(y)[0], 2047.0);                                    // 2^-20 is lost in the f32 sum
  EXPECT_EQ(values(y)[1], test_device() == "gpu" ? 2050.0 : 2049.0);  // to nearest, ties away from zero
}

TEST_F(GroupedMatmulTest, GradientsAgreeWithFiniteDifferences) {
  const Tensor offset = of<int32_t>(DType::i32, {4}, {0, 4, 4, 6});
  const Tensor x = normal("x", DType::f32, {7, 5}), w = normal("w", DType::f32, {3, 4, 5});
  const Tensor y = zeros(DType::f32, {7, 4}), dy = normal("dy", DType::f32, {7, 4});
  const auto loss = [&] {
    ops().grouped_matmul(y, x, w, offset, MatmulLayout::NT, false);
    return inner(*this, y, dy);
  };
  const Tensor dx = zeros(DType::f32, {7, 5}), dw = zeros(DType::f32, {3, 4, 5});
  ops().grouped_matmul(dx, dy, w, offset, MatmulLayout::NN, false);
  ops().grouped_matmul(dw, dy, x, offset, MatmulLayout::TN, true);
  EXPECT_TRUE(gradient_agrees(*this, dx, x, loss));
  EXPECT_TRUE(gradient_agrees(*this, dw, w, loss));
}

TEST(GroupedMatmulThreadsTest, SameBitsWithAnyNumberOfThreads) {
  std::vector<uint8_t> expected;
  for (const int threads : {1, 2, 3}) {
    Machine machine(threads);
    const Tensor offset = machine.of<int32_t>(DType::i32, {4}, {0, 200, 207, 500});
    const Tensor a = machine.normal("a", DType::bf16, {500, 70}),
                 w = machine.normal("w", DType::bf16, {3, 300, 70});
    const Tensor y = machine.zeros(DType::bf16, {500, 300});
    machine.ops().grouped_matmul(y, a, w, offset, MatmulLayout::NT, false);
    const auto bits = machine.bytes(y);
    if (threads == 1) expected = bits;
    EXPECT_EQ(bits, expected) << threads << " threads";
  }
}

TEST_F(GroupedMatmulTest, RefusesWrongShapesAndOffsets) {
  const Tensor offset = of<int32_t>(DType::i32, {3}, {0, 2, 4});
  const Tensor a = zeros(DType::f32, {4, 6}), w = zeros(DType::f32, {2, 5, 6}), y = zeros(DType::f32, {4, 5});
  EXPECT_NO_THROW(ops().grouped_matmul(y, a, w, offset, MatmulLayout::NT, false));
  EXPECT_THROW(ops().grouped_matmul(y, a, w, offset, MatmulLayout::NN, false), InternalError);
  EXPECT_THROW(ops().grouped_matmul(y, a, w, zeros(DType::i32, {4}), MatmulLayout::NT, false), InternalError);
  EXPECT_THROW(ops().grouped_matmul(y, a, w, zeros(DType::f32, {3}), MatmulLayout::NT, false), InternalError);
  EXPECT_THROW(ops().grouped_matmul(zeros(DType::f32, {4, 6}), a, w, offset, MatmulLayout::NT, false),
               InternalError);
  const Tensor w16 = zeros(DType::bf16, {2, 5, 6});
  EXPECT_THROW(ops().grouped_matmul(y, a, w16, offset, MatmulLayout::NT, false), InternalError);
  if (test_device() == "cpu") {  // a GPU reads the offsets only in its kernels
    for (const std::vector<int32_t>& bad : {std::vector<int32_t>{0, 3, 2}, {0, 2, 5}, {1, 2, 4}})
      EXPECT_THROW(ops().grouped_matmul(y, a, w, of(DType::i32, {3}, bad), MatmulLayout::NT, false),
                   InternalError);
  }
  EXPECT_THROW(ops().grouped_matmul(zeros(DType::bf16, {2, 6, 6}), zeros(DType::f32, {4, 6}),
                                    zeros(DType::f32, {4, 6}), offset, MatmulLayout::TN, false),
               InternalError);
}

}  // namespace
}  // namespace moe::test
