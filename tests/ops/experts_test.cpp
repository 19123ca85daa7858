// SPDX-License-Identifier: MIT
// The experts' operations that read rows by token, against their definitions in double precision and, as a
// whole layer, against finite differences.
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "base/error.h"
#include "support/compare.h"
#include "support/fixture.h"
#include "support/gradcheck.h"
#include "support/reference.h"

namespace moe::test {
namespace {

constexpr int64_t kChoices = 2, kExperts = 5, kNoLimit = Capacity::kNoLimit;

enum class Routing { spread, one_sided, padded };

struct Case {
  const char* name;
  int64_t tokens, d, f, capacity;
  Routing routing;
};

// Odd widths are moved element by element; wider ones are whole vectors; the widest, whole tiles and more.
const std::vector<Case> kCases = {
    {"odd sizes", 23, 19, 13, kNoLimit, Routing::spread},
    {"vectors", 37, 72, 40, kNoLimit, Routing::padded},
    {"more rows than a tile", 150, 128, 72, kNoLimit, Routing::spread},
    {"all tokens to two experts", 70, 64, 264, kNoLimit, Routing::one_sided},
    {"dropped assignments", 60, 192, 136, 7, Routing::padded},
    {"nothing but padding", 0, 64, 64, kNoLimit, Routing::padded},
};

// The last expert has no token.
std::vector<int> choose(const Case& c, int64_t tokens) {
  const Random random(5, "experts");
  std::vector<int> expert;
  for (int64_t n = 0; n < tokens; ++n) {
    const auto first = c.routing == Routing::one_sided
                           ? 1
                           : static_cast<int>(random.below(static_cast<uint64_t>(n), kExperts - 1));
    const bool padding = c.tokens == 0 || (c.routing == Routing::padded && n % 5 == 2);
    expert.push_back(padding ? -1 : first);
    expert.push_back(padding ? -1 : (first + 1) % (static_cast<int>(kExperts) - 1));
  }
  return expert;
}

struct Sizes {
  size_t n, d, f, r;
};

class ExpertsTest : public OpsTest {
 public:
  RoutePlan plan_of(const Case& c, int64_t tokens) {
    const int64_t rows = tokens * kChoices;
    RoutePlan plan{zeros(DType::i32, {kExperts + 1}), zeros(DType::i32, {rows}),
                   zeros(DType::i32, {tokens, kChoices}), zeros(DType::i32, {kExperts}),
                   zeros(DType::i32, {kExperts})};
    ops().route_plan(plan, of(DType::i32, {tokens, kChoices}, choose(c, tokens)), {c.capacity});
    return plan;
  }

  // x[slot / K] for the rows in use.
  static Values gathered(const Values& x, const Values& slot, size_t used, size_t width) {
    Values rows;
    for (size_t r = 0; r < used; ++r) {
      const size_t token = static_cast<size_t>(slot[r]) / kChoices;
      rows.insert(rows.end(), x.begin() + static_cast<std::ptrdiff_t>(token * width),
                  x.begin() + static_cast<std::ptrdiff_t>((token + 1) * width));
    }
    return rows;
  }

  // Per expert: rows [begin, end) of a [., k] times its weights, [n, k] if transposed, else [k, n].
  static Values per_expert(const Values& a, const Values& w, const Values& offset, size_t k, size_t n,
                           bool transposed) {
    Values result;
    for (size_t e = 0; e + 1 < offset.size(); ++e) {
      const auto begin = static_cast<size_t>(offset[e]), end = static_cast<size_t>(offset[e + 1]);
      const Values rows(a.begin() + static_cast<std::ptrdiff_t>(begin * k),
                        a.begin() + static_cast<std::ptrdiff_t>(end * k));
      const Values block(w.begin() + static_cast<std::ptrdiff_t>(e * n * k),
                         w.begin() + static_cast<std::ptrdiff_t>((e + 1) * n * k));
      const Values y =
          reference_product(rows, {k}, block, {transposed ? k : n, transposed}, end - begin, n, k);
      result.insert(result.end(), y.begin(), y.end());
    }
    return result;
  }

  // old + a^T b per expert.
  static Values outer_products(const Values& a, const Values& b, const Values& offset, size_t m, size_t n,
                               Values old) {
    for (size_t e = 0; e + 1 < offset.size(); ++e)
      for (auto r = static_cast<size_t>(offset[e]); r < static_cast<size_t>(offset[e + 1]); ++r)
        for (size_t i = 0; i < m; ++i)
          for (size_t j = 0; j < n; ++j) old[(e * m + i) * n + j] += a[r * m + i] * b[r * n + j];
    return old;
  }

  // `got` agrees in the rows in use, and the others hold what fill() put there.
  void expect_rows(const Tensor& got, const Values& exact, double bound, const char* what) {
    Values in_use = values(got);
    for (size_t i = exact.size(); i < in_use.size(); ++i)
      ASSERT_EQ(in_use[i], 7) << what << ": a row that is not in use was written";
    in_use.resize(exact.size());
    EXPECT_TRUE(close(in_use, exact, bound)) << what;
  }

  void check(const Case& c, DType type);
  void check_up(const Case& c, DType type, const RoutePlan& plan, const Sizes& s);
  void check_down(const Case& c, DType type, const RoutePlan& plan, const Sizes& s);
  void check_gradients(const Case& c, DType type, const RoutePlan& plan, const Sizes& s);
};

double silu(double x) {
  return x / (1 + std::exp(-x));
}
double silu_slope(double x) {
  const double s = 1 / (1 + std::exp(-x));
  return s + x * s * (1 - s);
}

void ExpertsTest::check_up(const Case& c, DType type, const RoutePlan& plan, const Sizes& s) {
  const double bound = bound_of(type);
  const auto N = static_cast<int64_t>(s.n), R = static_cast<int64_t>(s.r);
  const Tensor x = normal("x", type, {N, c.d}), w = normal("up", type, {kExperts, 2 * c.f, c.d}, 0.2F);
  const Tensor h = zeros(type, {R, 2 * c.f}), a = zeros(type, {R, c.f}), rows = zeros(type, {R, c.d});
  for (const Tensor& t : {h, a}) ops().fill(t, 7);
  ops().expert_up({h, a, rows, x, w, plan});

  const Values offset = values(plan.offset_E1), slot = values(plan.slot_R);
  const auto used = static_cast<size_t>(offset.back());
  const Values exact =
      per_expert(gathered(values(x), slot, used, s.d), values(w), offset, s.d, 2 * s.f, true);
  expect_rows(h, exact, bound, "h");
  const Values rounded = values(h);  // which a is made of
  Values activation(used * s.f);
  for (size_t r = 0; r < used; ++r)
    for (size_t i = 0; i < s.f; ++i)
      activation[r * s.f + i] = rounded[r * 2 * s.f + i] * silu(rounded[r * 2 * s.f + s.f + i]);
  expect_rows(a, activation, bound, "a");
}

void ExpertsTest::check_down(const Case& c, DType type, const RoutePlan& plan, const Sizes& s) {
  const double bound = type == DType::f32 ? kBoundF32 : 2 * bound_of(type);
  const auto N = static_cast<int64_t>(s.n), R = static_cast<int64_t>(s.r);
  const Tensor dy = normal("dy", type, {N, c.d}), w = normal("down", type, {kExperts, c.d, c.f}, 0.2F);
  const Tensor h = normal("h", type, {R, 2 * c.f}), weight = normal("weight", DType::f32, {N, kChoices});
  const Tensor dh = zeros(type, {R, 2 * c.f}), a = zeros(type, {R, c.f}), rows = zeros(type, {R, c.d});
  const Tensor dweight = zeros(DType::f32, {N, kChoices});
  for (const Tensor& t : {dh, a, dweight}) ops().fill(t, 7);
  ops().expert_down_backward({dh, a, dweight, rows, dy, w, h, weight, plan});

  const Values offset = values(plan.offset_E1), slot = values(plan.slot_R), hidden = values(h);
  const Values weights = values(weight);
  const auto used = static_cast<size_t>(offset.back());
  const Values da = per_expert(gathered(values(dy), slot, used, s.d), values(w), offset, s.d, s.f, false);
  Values exact_dh(used * 2 * s.f), exact_a(used * s.f), exact_dweight(s.r);
  for (size_t r = 0; r < used; ++r)
    for (size_t i = 0; i < s.f; ++i) {
      const double gate = hidden[r * 2 * s.f + i], up = hidden[r * 2 * s.f + s.f + i], g = da[r * s.f + i];
      const auto assignment = static_cast<size_t>(slot[r]);
      const double weight_of_row = weights[assignment];
      exact_dh[r * 2 * s.f + i] = weight_of_row * g * silu(up);
      exact_dh[r * 2 * s.f + s.f + i] = weight_of_row * g * gate * silu_slope(up);
      exact_a[r * s.f + i] = weight_of_row * gate * silu(up);
      exact_dweight[assignment] += g * gate * silu(up);
    }
  expect_rows(dh, exact_dh, bound, "dh");
  expect_rows(a, exact_a, bound, "a");
  EXPECT_TRUE(close(values(dweight), exact_dweight, bound)) << "dweight";
  const auto apart = bytes(dh);
  ops().expert_down_backward({h, a, dweight, rows, dy, w, h, weight, plan});
  const auto in_place = bytes(h);
  const auto end = static_cast<std::ptrdiff_t>(used * 2 * s.f * static_cast<size_t>(size_of(type)));
  EXPECT_TRUE(std::equal(apart.begin(), apart.begin() + end, in_place.begin())) << "dh may be h";
}

void ExpertsTest::check_gradients(const Case& c, DType type, const RoutePlan& plan, const Sizes& s) {
  const auto N = static_cast<int64_t>(s.n), R = static_cast<int64_t>(s.r);
  const Tensor tokens = normal("tokens", type, {N, c.d}), rows = zeros(type, {R, c.d});
  const Tensor a = normal("a", type, {R, c.f}), dh = normal("dh", type, {R, 2 * c.f});
  const Values offset = values(plan.offset_E1), slot = values(plan.slot_R);
  const Values by_row = gathered(values(tokens), slot, static_cast<size_t>(offset.back()), s.d);
  for (const bool accumulate : {false, true}) {
    const Tensor down = normal("dw", DType::f32, {kExperts, c.d, c.f});
    const Tensor up = normal("dw", DType::f32, {kExperts, 2 * c.f, c.d});
    const auto old = [&](const Tensor& t) {
      return accumulate ? values(t) : Values(static_cast<size_t>(t.numel()));
    };
    const Values exact_down = outer_products(by_row, values(a), offset, s.d, s.f, old(down));
    const Values exact_up = outer_products(values(dh), by_row, offset, 2 * s.f, s.d, old(up));
    ops().expert_down_gradient({down, rows, tokens, a, plan, accumulate});
    ops().expert_up_gradient({up, rows, dh, tokens, plan, accumulate});
    EXPECT_TRUE(close(values(down), exact_down, kBoundF32)) << "down, accumulate: " << accumulate;
    EXPECT_TRUE(close(values(up), exact_up, kBoundF32)) << "up, accumulate: " << accumulate;
  }
}

void ExpertsTest::check(const Case& c, DType type) {
  SCOPED_TRACE(c.name);
  const int64_t tokens = c.tokens == 0 ? 3 : c.tokens;
  const RoutePlan plan = plan_of(c, tokens);
  const Sizes sizes{static_cast<size_t>(tokens), static_cast<size_t>(c.d), static_cast<size_t>(c.f),
                    static_cast<size_t>(tokens * kChoices)};
  check_up(c, type, plan, sizes);
  check_down(c, type, plan, sizes);
  check_gradients(c, type, plan, sizes);
}

TEST_F(ExpertsTest, F32MatchesDoublePrecision) {
  for (const Case& c : kCases) check(c, DType::f32);
}

TEST_F(ExpertsTest, RoundedTypesMatchDoublePrecision) {
  for (const DType type : kHalves)
    for (const Case& c : kCases) check(c, type);
}

// y[n] = sum_k weight * down(activation(up(x))): every input's gradient.
TEST_F(ExpertsTest, GradientsAgreeWithFiniteDifferences) {
  const Case c{"", 4, 5, 3, 2, Routing::spread};
  const RoutePlan plan = plan_of(c, c.tokens);
  const int64_t N = c.tokens, R = N * kChoices;
  const DType f32 = DType::f32;
  const Tensor x = normal("x", f32, {N, c.d}), up = normal("up", f32, {kExperts, 2 * c.f, c.d});
  const Tensor down = normal("down", f32, {kExperts, c.d, c.f}),
               weight = normal("weight", f32, {N, kChoices});
  const Tensor h = zeros(f32, {R, 2 * c.f}), a = zeros(f32, {R, c.f}), rows = zeros(f32, {R, c.d}), none;
  const Tensor y = zeros(f32, {N, c.d}), dy = normal("dy", f32, {N, c.d});
  const auto loss = [&] {
    ops().expert_up({h, a, rows, x, up, plan});
    ops().grouped_matmul(rows, a, down, plan.offset_E1, MatmulLayout::NT, false);
    ops().combine_rows({y, none, rows, weight, plan});
    return inner(*this, y, dy);
  };
  loss();
  const Tensor dweight = zeros(f32, {N, kChoices}), dx = zeros(f32, {N, c.d});
  const Tensor ddown = zeros(f32, {kExperts, c.d, c.f}), dup = zeros(f32, {kExperts, 2 * c.f, c.d});
  const Tensor dh = zeros(f32, {R, 2 * c.f});
  ops().expert_down_backward({dh, a, dweight, rows, dy, down, h, weight, plan});
  ops().expert_down_gradient({ddown, rows, dy, a, plan, true});
  ops().expert_up_gradient({dup, rows, dh, x, plan, true});
  ops().grouped_matmul(rows, dh, up, plan.offset_E1, MatmulLayout::NN, false);
  ops().combine_rows({dx, none, rows, none, plan});
  EXPECT_TRUE(gradient_agrees(*this, dx, x, loss));
  EXPECT_TRUE(gradient_agrees(*this, dweight, weight, loss));
  EXPECT_TRUE(gradient_agrees(*this, dup, up, loss));
  EXPECT_TRUE(gradient_agrees(*this, ddown, down, loss));
}

TEST_F(ExpertsTest, RefusesWrongShapes) {
  const Case c{"", 6, 8, 4, kNoLimit, Routing::spread};
  const RoutePlan plan = plan_of(c, c.tokens);
  const DType f32 = DType::f32;
  const Tensor x = zeros(f32, {6, 8}), up = zeros(f32, {kExperts, 8, 8}), down = zeros(f32, {kExperts, 8, 4});
  const Tensor h = zeros(f32, {12, 8}), a = zeros(f32, {12, 4}), rows = zeros(f32, {12, 8}),
               weight = zeros(f32, {6, 2});
  EXPECT_NO_THROW(ops().expert_up({h, a, rows, x, up, plan}));
  EXPECT_THROW(ops().expert_up({h, a, x, x, up, plan}), InternalError);
  EXPECT_THROW(ops().expert_up({h, a, rows, x, zeros(f32, {kExperts - 1, 8, 8}), plan}), InternalError);
  EXPECT_THROW(ops().expert_up({h, a, rows, x, zeros(f32, {kExperts, 8, 7}), plan}), InternalError);
  EXPECT_THROW(ops().expert_up({h, a, rows, x, zeros(DType::bf16, {kExperts, 8, 8}), plan}), InternalError);
  EXPECT_NO_THROW(ops().expert_down_backward({h, a, weight, rows, x, down, h, weight, plan}));
  EXPECT_THROW(ops().expert_down_backward({h, a, weight, rows, x, up, h, weight, plan}), InternalError);
  EXPECT_THROW(ops().expert_down_backward({h, a, weight, rows, zeros(f32, {6, 7}), down, h, weight, plan}),
               InternalError);
  EXPECT_NO_THROW(ops().expert_down_gradient({down, rows, x, a, plan, true}));
  EXPECT_THROW(ops().expert_down_gradient({up, rows, x, a, plan, true}), InternalError);
  EXPECT_THROW(ops().expert_down_gradient({down, rows, x, zeros(f32, {11, 4}), plan, true}), InternalError);
  EXPECT_NO_THROW(ops().expert_up_gradient({up, rows, h, x, plan, false}));
  EXPECT_THROW(ops().expert_up_gradient({down, rows, h, x, plan, false}), InternalError);
}

}  // namespace
}  // namespace moe::test
