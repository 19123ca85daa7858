// SPDX-License-Identifier: MIT
// Attention with its gate against plain softmax in double precision, its gradients, and generation against
// training.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <tuple>

#include "base/error.h"
#include "ops/attention_fixture.h"
#include "support/gradcheck.h"

namespace moe::test::attention {
namespace {

TEST_F(AttentionTest, F32MatchesPlainSoftmax) {
  check_forward(DType::f32, kBoundF32);
}

TEST_F(AttentionTest, RoundedTypesMatchPlainSoftmax) {
  for (const DType dtype : kHalves) check_forward(dtype, bound_of(dtype));
}

TEST_F(AttentionTest, WindowsAndNoGateMatchPlainSoftmax) {
  for (const DType dtype : kActivations)
    for (const Shape& s : windowed_shapes())
      for (size_t mask = 1; mask < 3; ++mask) {
        const auto& [name, rows] = kMasks[mask];
        SCOPED_TRACE(fmt::format("{}, head width {}, window {}", name, s.dim, s.window));
        const Inputs x = make_inputs(*this, dtype, rows, s);
        const Outputs out = forward(x);
        const ReferenceAttention exact = reference(*this, x, rows);
        const double bound = dtype == DType::f32 ? kBoundF32 : bound_of(dtype);
        EXPECT_TRUE(close(values(out.y), gated(*this, x, exact.output), s.gated ? 2 * bound : bound));
        EXPECT_TRUE(close(values(out.lse), exact.lse, kBoundF32));
      }
}

TEST_F(AttentionTest, PaddingGivesZeros) {
  const Rows rows = {row_of({{0, 3}, {-1, 2}})};
  const Outputs out = forward(make_inputs(*this, DType::f32, rows, {2, 1, 4}));
  EXPECT_EQ(values(out.y.rows(3, 5)), Values(16));
  EXPECT_EQ(values(out.lse.rows(3, 5)), Values(4));
}

TEST_F(AttentionTest, HugeScoresDoNotOverflow) {
  for (const DType dtype : kActivations)
    for (const int64_t dim : {8, 64}) {
      SCOPED_TRACE(fmt::format("{}, head width {}", name_of(dtype), dim));
      Inputs x = make_inputs(*this, dtype, {row_of({{0, 300}})}, {1, 1, dim});
      x.q = normal("q", dtype, {300, 1, dim}, 1e4F);  // up to two thirds of what f16 holds
      const Outputs out = forward(x);
      const Gradients g = gated_backward(x, out, normal("dy", dtype, {300, 1, dim}));
      for (const Tensor& t : {out.y, out.lse, g.q, g.k, g.packed})
        for (const double value : values(t)) ASSERT_TRUE(std::isfinite(value));
    }
}

TEST_F(AttentionTest, GradientsAgreeWithFiniteDifferences) {
  const Rows rows = {row_of({{0, 3}, {3, 4}}), row_of({{0, 5}, {-1, 2}})};
  const int64_t heads = test_device() == "cpu" ? 4 : 2;
  const Inputs x = make_inputs(*this, DType::f32, rows, {heads, heads / 2, 4});
  const Tensor dy = normal("dy", DType::f32, {14, heads, 4});
  const Gradients g = gated_backward(x, forward(x), dy);
  const auto loss = [&] { return inner(*this, forward(x).y, dy); };
  EXPECT_TRUE(gradient_agrees(*this, g.q, x.q, loss));
  EXPECT_TRUE(gradient_agrees(*this, g.k, x.k, loss));
  EXPECT_TRUE(gradient_agrees(*this, g.packed, x.packed, loss));  // the parts of q and k are zero in both
}

TEST_F(AttentionTest, GradientsInWindowsAgreeWithFiniteDifferences) {
  const Rows rows = {row_of({{0, 3}, {3, 4}}), row_of({{0, 5}, {-1, 2}})};
  for (const Shape s : {Shape{2, 1, 4, true, 2}, Shape{2, 1, 4, false, 3}, Shape{2, 2, 4, false, 0}}) {
    const Inputs x = make_inputs(*this, DType::f32, rows, s);
    const Tensor dy = normal("dy", DType::f32, {14, 2, 4});
    const Gradients g = gated_backward(x, forward(x), dy);
    const auto loss = [&] { return inner(*this, forward(x).y, dy); };
    EXPECT_TRUE(gradient_agrees(*this, g.q, x.q, loss)) << s.window;
    EXPECT_TRUE(gradient_agrees(*this, g.k, x.k, loss)) << s.window;
    EXPECT_TRUE(gradient_agrees(*this, g.packed, x.packed, loss)) << s.window;
  }
}

// Long rows have too many elements to move one by one: each gradient along one random direction.
TEST_F(AttentionTest, GradientsAgreeAcrossBlocks) {
  const Rows& rows = kMasks.back().second;
  const Inputs x = make_inputs(*this, DType::f32, rows, {4, 2, 16});
  const Tensor dy = normal("dy", DType::f32, {x.q.dim(0), 4, 16});
  const Gradients g = gated_backward(x, forward(x), dy);
  const auto loss = [&] { return inner(*this, forward(x).y, dy); };
  EXPECT_TRUE(gradient_agrees_along(*this, "dq", g.q, x.q, loss));
  EXPECT_TRUE(gradient_agrees_along(*this, "dk", g.k, x.k, loss));
  EXPECT_TRUE(gradient_agrees_along(*this, "dpacked", g.packed, x.packed, loss));
}

// Rounds twice (p or ds, then the result), and y comes in rounded.
TEST_F(AttentionTest, GradientsOfRoundedTypesMatchF32) {
  for (const DType dtype : kHalves)
    for (const Shape s : {Shape{4, 2, 32}, Shape{4, 2, 64}, Shape{3, 3, 64}, Shape{2, 1, 128}})
      for (const auto& [name, rows] : kMasks) {
        SCOPED_TRACE(name + std::string(", head width ") + std::to_string(s.dim));
        const Inputs x16 = make_inputs(*this, dtype, rows, s), x32 = widened(x16);
        const Tensor d_o = normal("do", dtype, {x16.q.dim(0), s.heads, s.dim});
        const Gradients g16 = backward(x16, forward(x16), d_o),
                        g32 = backward(x32, forward(x32), widened(d_o));
        EXPECT_TRUE(close(values(g16.packed), values(g32.packed), 2 * bound_of(dtype)));
        if (rows[0].size() == 1) continue;  // the weight of a single key is 1: other gradients are 0
        EXPECT_TRUE(close(values(g16.q), values(g32.q), 2 * bound_of(dtype)));
        EXPECT_TRUE(close(values(g16.k), values(g32.k), 2 * bound_of(dtype)));
      }
}

TEST_F(AttentionTest, GradientsInWindowsOfRoundedTypesMatchF32) {
  for (const DType dtype : kHalves)
    for (const Shape& s : windowed_shapes()) {
      const auto& [name, rows] = kMasks[2];
      SCOPED_TRACE(fmt::format("{}, head width {}, window {}", name, s.dim, s.window));
      const Inputs x16 = make_inputs(*this, dtype, rows, s), x32 = widened(x16);
      const Tensor d_o = normal("do", dtype, {x16.q.dim(0), s.heads, s.dim});
      const Gradients g16 = backward(x16, forward(x16), d_o), g32 = backward(x32, forward(x32), widened(d_o));
      EXPECT_TRUE(close(values(g16.packed), values(g32.packed), 2 * bound_of(dtype)));
      if (s.window == 1) continue;  // the weight of a single key is 1: other gradients are 0
      EXPECT_TRUE(close(values(g16.q), values(g32.q), 2 * bound_of(dtype)));
      EXPECT_TRUE(close(values(g16.k), values(g32.k), 2 * bound_of(dtype)));
    }
}

// More tiles of keys than a pipeline has stages, documents that end within tiles, padding between them; a
// document that ends where a block's first half does, so that one half has many tiles of queries less than
// the other.
TEST_F(AttentionTest, LongRowsOfManyTilesMatchF32) {
  const Rows rows = {row_of({{0, 700}}), row_of({{0, 61}, {61, 300}, {-1, 80}, {441, 259}}),
                     row_of({{0, 64}, {64, 636}}), row_of({{0, 192}, {192, 448}, {-1, 60}})};
  for (const auto& [dtype, dim, window] : {std::tuple{DType::bf16, 64, 0},
                                           {DType::bf16, 64, 90},
                                           {DType::bf16, 64, 256},
                                           {DType::f16, 64, 90},
                                           {DType::bf16, 128, 0},
                                           {DType::f16, 128, 90}}) {
    SCOPED_TRACE(fmt::format("{}, head width {}, window {}", name_of(dtype), dim, window));
    const double bound = bound_of(dtype);
    const Inputs x16 = make_inputs(*this, dtype, rows, {2, 1, dim, true, window}), x32 = widened(x16);
    const Tensor d_o = normal("do", dtype, {x16.q.dim(0), 2, dim});
    const Outputs out16 = forward(x16), out32 = forward(x32);
    EXPECT_TRUE(close(values(out16.y), values(out32.y), 2 * bound));
    const Gradients g16 = backward(x16, out16, d_o), g32 = backward(x32, out32, widened(d_o));
    EXPECT_TRUE(close(values(g16.q), values(g32.q), 2 * bound));
    EXPECT_TRUE(close(values(g16.k), values(g32.k), 2 * bound));
    EXPECT_TRUE(close(values(g16.packed), values(g32.packed), 2 * bound));
  }
}

TEST_F(AttentionTest, GenerationInPiecesMatchesTheWholeRow) {
  struct Case {
    DType dtype;
    Shape shape;
  };
  for (const Case& one : {Case{DType::f32, {4, 2, 16, true, 0}},
                          {DType::bf16, {4, 2, 16, true, 0}},
                          {DType::f16, {4, 2, 16, true, 0}},
                          {DType::f32, {4, 2, 16, false, 37}},
                          {DType::bf16, {4, 2, 16, false, 150}}}) {
    const DType dtype = one.dtype;
    constexpr int64_t kBatch = 2, kLength = 300;
    const Inputs x = make_inputs(*this, dtype, {row_of({{0, 300}}), row_of({{0, 300}})}, one.shape);
    const Values whole = values(forward(x).y);
    const Tensor k_cache = normal("old k", dtype, {kBatch, kLength + 3, 2, 16});
    const Tensor v_cache = normal("old v", dtype, {kBatch, kLength + 3, 2, 16});
    int64_t start = 0;
    for (const int64_t count : {1, 5, 280, 1, 13}) {
      // The same tokens of both sequences, side by side.
      const auto piece = [&](const Tensor& t) {
        Values part;
        const int64_t width = t.numel() / t.dim(0);
        const Values all = values(t);
        for (int64_t b = 0; b < kBatch; ++b)
          part.insert(part.end(), all.begin() + (b * kLength + start) * width,
                      all.begin() + (b * kLength + start + count) * width);
        return part;
      };
      const auto part_of = [&](const Tensor& t) {
        return of(dtype, {kBatch * count, t.dim(1), t.dim(2)}, piece(t));
      };
      const Tensor y = zeros(dtype, {kBatch * count, 4, 16});
      const Tensor packed = of(dtype, {kBatch * count, x.heads.packed()}, piece(x.packed));
      ops().attention_cached({y, k_cache, v_cache, part_of(x.q), part_of(x.k), packed,
                              of(DType::i32, {kBatch}, std::vector<int64_t>(kBatch, start)), x.heads,
                              x.window});
      const Tensor expected = of(dtype, {kBatch * kLength, 4, 16}, whole);
      // Both round o and y.
      EXPECT_TRUE(close(values(y), piece(expected), dtype == DType::f32 ? kBoundF32 : 4 * bound_of(dtype)))
          << start;
      start += count;
    }
    ASSERT_EQ(start, kLength);
  }
}

// Sequences at other places in one batch: each as it is alone.
TEST_F(AttentionTest, GenerationOfSequencesOfOtherLengths) {
  const DType f32 = DType::f32;
  const Tensor k_cache = normal("old k", f32, {2, 40, 2, 16}), v_cache = normal("old v", f32, {2, 40, 2, 16});
  const Heads heads{4, 2, 16};
  const Tensor q = normal("q", f32, {2, 4, 16}), k = normal("k", f32, {2, 2, 16}),
               packed = normal("packed", f32, {2, heads.packed()});
  const Tensor y = zeros(f32, {2, 4, 16}), alone = zeros(f32, {1, 4, 16});
  const std::vector<int64_t> starts{31, 7};
  for (int64_t b = 0; b < 2; ++b) {
    const auto own = [&](const Tensor& t) {
      const Values all = values(t);
      const auto size = std::ssize(all) / 2;
      std::vector<int64_t> shape(t.shape(), t.shape() + t.rank());
      shape[0] = 1;
      return of(f32, shape, Values(all.begin() + b * size, all.begin() + (b + 1) * size));
    };
    const Tensor own_k = own(k_cache), own_v = own(v_cache);
    ops().attention_cached({alone, own_k, own_v, own(q), own(k), own(packed),
                            of(DType::i32, {1}, std::vector<int64_t>{starts[static_cast<size_t>(b)]}),
                            heads});
    ops().attention_cached({y, k_cache, v_cache, q, k, packed, of(DType::i32, {2}, starts), heads});
    const Values both = values(y), single = values(alone);
    EXPECT_EQ(Values(both.begin() + b * 64, both.begin() + (b + 1) * 64), single);
  }
}

TEST(AttentionThreadsTest, SameBitsWithAnyNumberOfThreads) {
  for (const DType dtype : kActivations) {
    std::vector<std::vector<uint8_t>> expected;
    for (const int threads : {1, 2, 3}) {
      Machine machine(threads);
      const Inputs x = make_inputs(machine, dtype, kMasks[2].second, {4, 2, 16});
      const int64_t n = x.q.dim(0);
      const Tensor y = machine.zeros(dtype, {n, 4, 16}), lse = machine.zeros(DType::f32, {n, 4}),
                   delta = machine.normal("delta", DType::f32, {n, 4});
      const Tensor dq = machine.zeros(dtype, {n, 4, 16}), dk = machine.zeros(dtype, {n, 2, 16});
      const Tensor dpacked = machine.zeros(dtype, {n, x.heads.packed()});
      const Tensor d_o = machine.normal("do", dtype, {n, 4, 16});
      machine.ops().attention_forward({y, lse, x.q, x.k, x.packed, x.first, x.heads});
      machine.ops().attention_backward(
          {dq, dk, dpacked, d_o, x.q, x.k, x.packed, lse, delta, x.first, x.heads});
      std::vector<std::vector<uint8_t>> bits;
      for (const Tensor& t : {y, lse, dq, dk, dpacked}) bits.push_back(machine.bytes(t));
      if (threads == 1) expected = bits;
      EXPECT_EQ(bits, expected) << threads << " threads";
    }
  }
}

TEST_F(AttentionTest, RefusesWrongShapesAndTypes) {
  const Tensor q = zeros(DType::f32, {6, 4, 8}), k = zeros(DType::f32, {6, 2, 8});
  const Heads heads{4, 2, 8};
  const Tensor packed = zeros(DType::f32, {6, 96}), lse = zeros(DType::f32, {6, 4});
  const Tensor first = zeros(DType::i32, {2, 3});
  const auto forward_of = [&](const Tensor& y, const Tensor& l, const Tensor& keys, const Tensor& rows,
                              const Tensor& f) {
    ops().attention_forward({y, l, q, keys, rows, f, heads});
  };
  const Tensor o = zeros(DType::f32, {6, 4, 8});
  EXPECT_NO_THROW(forward_of(o, lse, k, packed, first));
  EXPECT_THROW(forward_of(zeros(DType::bf16, {6, 4, 8}), lse, k, packed, first), InternalError);
  EXPECT_THROW(forward_of(o, zeros(DType::f32, {6, 2}), k, packed, first), InternalError);
  EXPECT_THROW(forward_of(o, lse, zeros(DType::f32, {6, 3, 8}), packed, first), InternalError);
  EXPECT_THROW(forward_of(o, lse, k, zeros(DType::f32, {6, 88}), first), InternalError);
  EXPECT_THROW(forward_of(o, lse, k, packed, zeros(DType::i32, {2, 4})), InternalError);
  EXPECT_THROW(forward_of(o, lse, k, packed, zeros(DType::f32, {2, 3})), InternalError);
  EXPECT_THROW(ops().attention_forward({o, lse, q, k, packed, first, {4, 1, 8}}), InternalError);
  const auto backward_of = [&](const Tensor& dpacked, const Tensor& delta) {
    ops().attention_backward(
        {o, zeros(DType::f32, {6, 2, 8}), dpacked, o, q, k, packed, lse, delta, first, heads});
  };
  EXPECT_NO_THROW(backward_of(zeros(DType::f32, {6, 96}), lse));
  EXPECT_THROW(backward_of(zeros(DType::f32, {6, 64}), lse), InternalError);
  EXPECT_THROW(backward_of(zeros(DType::f32, {6, 96}), zeros(DType::f32, {4, 6})), InternalError);
  const Tensor cache = zeros(DType::f32, {2, 5, 2, 8}), v_cache = zeros(DType::f32, {2, 5, 2, 8});
  const auto starts = [&](const std::vector<int64_t>& at) {
    return of(DType::i32, {static_cast<int64_t>(at.size())}, at);
  };
  EXPECT_NO_THROW(ops().attention_cached({o, cache, v_cache, q, k, packed, starts({2, 0}), heads}));
  EXPECT_THROW(ops().attention_cached({o, cache, v_cache, q, k, packed, starts({2}), heads}), InternalError);
  if (test_device() != "cpu") return;  // the values of starts are on the device
  EXPECT_THROW(ops().attention_cached({o, cache, v_cache, q, k, packed, starts({2, 3}), heads}),
               InternalError);
  EXPECT_THROW(ops().attention_cached({o, cache, v_cache, q, k, packed, starts({-1, 0}), heads}),
               InternalError);
}

}  // namespace
}  // namespace moe::test::attention
