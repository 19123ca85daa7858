// SPDX-License-Identifier: MIT
// The experts' operations that read rows by token, against their definitions in double precision and, as a
// whole layer, against finite differences.
#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "ops/experts_fixture.h"
#include "support/compare.h"
#include "support/gradcheck.h"
#include "support/reference.h"

namespace moe::test {
namespace {

using experts::Case;
using experts::kChoices;
using experts::kExperts;
using experts::kNoLimit;
using experts::Routing;

// Odd widths are moved element by element; wider ones are whole vectors; the widest, whole tiles and more.
const std::vector<Case> kCases = {
    {"odd sizes", 23, 19, 13, kNoLimit, Routing::spread},
    {"vectors", 37, 72, 40, kNoLimit, Routing::padded},
    {"more rows than a tile", 150, 128, 72, kNoLimit, Routing::spread},
    {"all tokens to two experts", 70, 64, 264, kNoLimit, Routing::one_sided},
    {"dropped assignments", 60, 192, 136, 7, Routing::padded},
    {"nothing but padding", 0, 64, 64, kNoLimit, Routing::padded},
};

class ExpertsTest : public experts::ExpertsFixture {
 public:
  // old + a^T b per expert.
  static Values outer_products(const Values& a, const Values& b, const Values& offset, size_t m, size_t n,
                               Values old) {
    for (size_t e = 0; e + 1 < offset.size(); ++e)
      for (auto r = static_cast<size_t>(offset[e]); r < static_cast<size_t>(offset[e + 1]); ++r)
        for (size_t i = 0; i < m; ++i)
          for (size_t j = 0; j < n; ++j) old[(e * m + i) * n + j] += a[r * m + i] * b[r * n + j];
    return old;
  }

  void check(const Case& c, DType type);
  void check_up(const Case& c, DType type, const RoutePlan& plan);
  void check_down(const Case& c, DType type, const RoutePlan& plan);
  void check_gradients(const Case& c, DType type, const RoutePlan& plan);
};

void ExpertsTest::check_up(const Case& c, DType type, const RoutePlan& plan) {
  const int64_t N = c.tokens_of_plan(), R = N * kChoices;
  const Tensor x = normal("x", type, {N, c.d}), w = normal("up", type, {kExperts, 2 * c.f, c.d}, 0.2F);
  const Tensor h = zeros(type, {R, 2 * c.f}), a = zeros(type, {R, c.f}), rows = zeros(type, {R, c.d});
  for (const Tensor& t : {h, a}) ops().fill(t, 7);
  ops().expert_up({h, a, rows, x, w, plan});
  expect_up(h, a, values(x), values(w), plan, c);
}

void ExpertsTest::check_down(const Case& c, DType type, const RoutePlan& plan) {
  const int64_t N = c.tokens_of_plan(), R = N * kChoices;
  const Tensor dy = normal("dy", type, {N, c.d}), w = normal("down", type, {kExperts, c.d, c.f}, 0.2F);
  const Tensor h = normal("h", type, {R, 2 * c.f}), weight = normal("weight", DType::f32, {N, kChoices});
  const Tensor dh = zeros(type, {R, 2 * c.f}), a = zeros(type, {R, c.f}), rows = zeros(type, {R, c.d});
  const Tensor dweight = zeros(DType::f32, {N, kChoices});
  for (const Tensor& t : {dh, a, dweight}) ops().fill(t, 7);
  ops().expert_down_backward({dh, a, dweight, rows, dy, w, h, weight, plan});

  const Values offset = values(plan.offset_E1), slot = values(plan.slot_R);
  const auto d = static_cast<size_t>(c.d);
  const Values by_row = gathered(values(dy), slot, static_cast<size_t>(offset.back()), d);
  expect_down(dh, a, dweight, per_expert(by_row, values(w), offset, d, static_cast<size_t>(c.f), false), h,
              weight, plan);
  const auto apart = bytes_in_use(dh, plan);
  ops().expert_down_backward({h, a, dweight, rows, dy, w, h, weight, plan});
  EXPECT_EQ(apart, bytes_in_use(h, plan)) << "dh may be h";
}

void ExpertsTest::check_gradients(const Case& c, DType type, const RoutePlan& plan) {
  const int64_t N = c.tokens_of_plan(), R = N * kChoices;
  const auto d = static_cast<size_t>(c.d), f = static_cast<size_t>(c.f);
  const Tensor tokens = normal("tokens", type, {N, c.d}), rows = zeros(type, {R, c.d});
  const Tensor a = normal("a", type, {R, c.f}), dh = normal("dh", type, {R, 2 * c.f});
  const Values offset = values(plan.offset_E1), slot = values(plan.slot_R);
  const Values by_row = gathered(values(tokens), slot, static_cast<size_t>(offset.back()), d);
  for (const bool accumulate : {false, true}) {
    const Tensor down = normal("dw", DType::f32, {kExperts, c.d, c.f});
    const Tensor up = normal("dw", DType::f32, {kExperts, 2 * c.f, c.d});
    const auto old = [&](const Tensor& t) {
      return accumulate ? values(t) : Values(static_cast<size_t>(t.numel()));
    };
    const Values exact_down = outer_products(by_row, values(a), offset, d, f, old(down));
    const Values exact_up = outer_products(values(dh), by_row, offset, 2 * f, d, old(up));
    ops().expert_down_gradient({down, rows, tokens, a, plan, accumulate});
    ops().expert_up_gradient({up, rows, dh, tokens, plan, accumulate});
    EXPECT_TRUE(close(values(down), exact_down, kBoundF32)) << "down, accumulate: " << accumulate;
    EXPECT_TRUE(close(values(up), exact_up, kBoundF32)) << "up, accumulate: " << accumulate;
  }
}

void ExpertsTest::check(const Case& c, DType type) {
  SCOPED_TRACE(c.name);
  const RoutePlan plan = plan_of(c, c.tokens_of_plan());
  check_up(c, type, plan);
  check_down(c, type, plan);
  check_gradients(c, type, plan);
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
