// SPDX-License-Identifier: MIT
// Inputs of attention with masks of all kinds, what plain softmax makes of them, and the operations on them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "support/compare.h"
#include "support/fixture.h"
#include "support/reference.h"

namespace moe::test::attention {

struct Shape {
  int64_t heads, kv_heads, dim;
  bool gated = true;
  int64_t window = 0;
  Heads layout() const { return {heads, kv_heads, dim, gated}; }
};

// `count` tokens whose document begins at `start`; -1 for padding.
struct Span {
  int32_t start;
  size_t count;
};
inline std::vector<int32_t> row_of(const std::vector<Span>& spans) {
  std::vector<int32_t> first;
  for (const Span& span : spans) first.insert(first.end(), span.count, span.start);
  return first;
}

using Rows = std::vector<std::vector<int32_t>>;

// More keys than a block holds; a GPU's blocks hold 128, and their emulation is slow.
inline const size_t kLong = test_device() == "cpu" ? 600 : 280;

// All rows of a case have one length.
inline const std::vector<std::pair<const char*, Rows>> kMasks = {
    {"one token", {row_of({{0, 1}}), row_of({{-1, 1}})}},
    {"one document a row", {row_of({{0, 130}})}},
    {"documents and padding",
     {row_of({{0, 37}, {37, 1}, {38, 90}, {128, 2}}), row_of({{0, 100}, {-1, 30}}), row_of({{-1, 130}}),
      row_of({{0, 5}, {-1, 60}, {65, 65}})}},
    {"more keys than a block holds", {row_of({{0, kLong}}), row_of({{0, 150}, {150, kLong - 150}})}},
};

struct Inputs {
  Tensor q, k, packed, first;  // of the packed rows the gates and the values are read
  Heads heads;
  int64_t window;
};

inline Inputs make_inputs(Machine& machine, DType dtype, const Rows& rows, Shape s) {
  const auto batch = static_cast<int64_t>(rows.size()), length = static_cast<int64_t>(rows[0].size());
  std::vector<int32_t> first;
  for (const auto& row : rows) first.insert(first.end(), row.begin(), row.end());
  const int64_t n = batch * length;
  return {machine.normal("q", dtype, {n, s.heads, s.dim}, 1.5F),
          machine.normal("k", dtype, {n, s.kv_heads, s.dim}),
          machine.normal("packed", dtype, {n, s.layout().packed()}),
          machine.of(DType::i32, {batch, length}, first),
          s.layout(),
          s.window};
}

// `width` columns of each packed row.
inline Values columns(Machine& machine, const Tensor& packed, int64_t from, int64_t width) {
  const Values all = machine.values(packed);
  Values part;
  for (int64_t n = 0; n < packed.dim(0); ++n) {
    const auto row = all.begin() + n * packed.dim(1) + from;
    part.insert(part.end(), row, row + width);
  }
  return part;
}
// [N,G,d] and [N,H,d] of the packed rows.
inline Values values_of(Machine& machine, const Tensor& packed, const Heads& heads) {
  return columns(machine, packed, heads.values(), heads.kv * heads.dim);
}
inline Values gates_of(Machine& machine, const Tensor& packed, const Heads& heads) {
  const Values pairs = columns(machine, packed, 0, 2 * heads.query * heads.dim);
  Values gates;
  const auto d = static_cast<size_t>(heads.dim);
  for (size_t i = 0; i < pairs.size(); ++i)
    if (i / d % 2 == 1) gates.push_back(pairs[i]);
  return gates;
}

inline ReferenceAttention reference(Machine& machine, const Inputs& x, const Rows& rows) {
  const Values q = machine.values(x.q), k = machine.values(x.k), v = values_of(machine, x.packed, x.heads);
  const auto heads = static_cast<size_t>(x.heads.query), kv = static_cast<size_t>(x.heads.kv);
  const auto dim = static_cast<size_t>(x.heads.dim);
  ReferenceAttention all;
  for (size_t b = 0; b < rows.size(); ++b) {
    const size_t at = b * rows[b].size() * dim;
    std::vector<int32_t> first = rows[b];  // key that a token sees
    for (int32_t t = 0; t < std::ssize(first) && x.window > 0; ++t) {
      int32_t& key = first[static_cast<size_t>(t)];
      if (key >= 0) key = std::max(key, t - static_cast<int32_t>(x.window) + 1);
    }
    const auto row = reference_attention(&q[at * heads], &k[at * kv], &v[at * kv], first, heads, kv, dim);
    all.output.insert(all.output.end(), row.output.begin(), row.output.end());
    all.lse.insert(all.lse.end(), row.lse.begin(), row.lse.end());
  }
  return all;
}

// y of o, and o of y.
inline Values gated(Machine& machine, const Inputs& x, Values o) {
  if (!x.heads.gated) return o;
  const Values gates = gates_of(machine, x.packed, x.heads);
  for (size_t i = 0; i < o.size(); ++i) o[i] /= 1 + std::exp(-gates[i]);
  return o;
}
inline Values ungated(Machine& machine, const Inputs& x, Values y) {
  if (!x.heads.gated) return y;
  const Values gates = gates_of(machine, x.packed, x.heads);
  for (size_t i = 0; i < y.size(); ++i) y[i] *= 1 + std::exp(-gates[i]);
  return y;
}

class AttentionTest : public OpsTest {
 public:
  using OpsTest::OpsTest;
  double lse_bound = kBoundF32;

  struct Outputs {
    Tensor y, lse;
  };
  Outputs forward(const Inputs& x) {
    const int64_t n = x.q.dim(0), heads = x.q.dim(1), dim = x.q.dim(2);
    const Outputs out{normal("old y", x.q.dtype(), {n, heads, dim}),
                      normal("old lse", DType::f32, {n, heads})};
    ops().attention_forward({out.y, out.lse, x.q, x.k, x.packed, x.first, x.heads, x.window});
    return out;
  }

  struct Gradients {
    Tensor q, k, packed;
  };
  // Of the attention alone, given the gradient of o.
  Gradients backward(const Inputs& x, const Outputs& out, const Tensor& d_o) {
    const auto like = [&](const Tensor& t) {
      return normal("old", t.dtype(), {t.dim(0), t.dim(1), t.dim(2)});
    };
    const Values a = values(d_o), b = ungated(*this, x, values(out.y));
    Values delta(static_cast<size_t>(out.lse.numel()));
    for (size_t i = 0; i < a.size(); ++i) delta[i / static_cast<size_t>(x.heads.dim)] += a[i] * b[i];
    Gradients g{like(x.q), like(x.k), zeros(x.q.dtype(), {x.q.dim(0), x.heads.packed()})};
    ops().attention_backward({g.q, g.k, g.packed, d_o, x.q, x.k, x.packed, out.lse,
                              of(DType::f32, {x.q.dim(0), x.heads.query}, delta), x.first, x.heads,
                              x.window});
    return g;
  }
  // Of attention and gate, given the gradient of y.
  Gradients gated_backward(const Inputs& x, const Outputs& out, const Tensor& dy) {
    const auto like = [&](const Tensor& t) { return zeros(t.dtype(), {t.dim(0), t.dim(1), t.dim(2)}); };
    Gradients g{like(x.q), like(x.k), zeros(x.q.dtype(), {x.q.dim(0), x.heads.packed()})};
    const Tensor d_o = x.heads.gated ? like(x.q) : dy, delta = zeros(DType::f32, {x.q.dim(0), x.heads.query});
    ops().gate_backward({d_o, delta, g.packed, dy, out.y, x.packed, x.heads});
    ops().attention_backward(
        {g.q, g.k, g.packed, d_o, x.q, x.k, x.packed, out.lse, delta, x.first, x.heads, x.window});
    return g;
  }
  Inputs widened(const Inputs& x) {
    return {widened(x.q), widened(x.k), of(DType::f32, {x.packed.dim(0), x.packed.dim(1)}, values(x.packed)),
            x.first,      x.heads,      x.window};
  }
  Tensor widened(const Tensor& t) { return of(DType::f32, {t.dim(0), t.dim(1), t.dim(2)}, values(t)); }

  void check_forward(DType dtype, double bound) {
    for (const Shape s :
         {Shape{4, 2, 16}, Shape{3, 3, 10}, Shape{4, 1, 64}, Shape{3, 1, 64}, Shape{2, 1, 128}})
      for (const auto& [name, rows] : kMasks) {
        SCOPED_TRACE(name + std::string(", head width ") + std::to_string(s.dim));
        const Inputs x = make_inputs(*this, dtype, rows, s);
        const Outputs out = forward(x);
        const ReferenceAttention exact = reference(*this, x, rows);
        // Rounds twice: o, then y.
        EXPECT_TRUE(close(values(out.y), gated(*this, x, exact.output), 2 * bound));
        EXPECT_TRUE(close(values(out.lse), exact.lse, lse_bound));
      }
  }
};

// Windows of a token, within a tile, of whole tiles and longer than some documents; each kernel family.
inline std::vector<Shape> windowed_shapes() {
  std::vector<Shape> shapes;
  for (const Shape s : {Shape{4, 2, 16}, Shape{4, 1, 64}, Shape{2, 1, 128}})
    for (const int64_t window : {1, 20, 64, 100})
      shapes.push_back({s.heads, s.kv_heads, s.dim, window % 3 == 1, window});
  return shapes;
}

}  // namespace moe::test::attention
