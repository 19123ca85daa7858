// SPDX-License-Identifier: MIT
// The experts' FP8 products, against their definitions in double precision on the numbers that the operands
// stand for, with a channel of outliers and rows of zeros.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "ops/experts_fixture.h"
#include "support/compare.h"

namespace moe::test {
namespace {

using experts::Case;
using experts::kChoices;
using experts::kExperts;
using experts::kNoLimit;
using experts::Routing;

// Widths that vectors do not fit, and those that whole lines of 128 or tiles do not.
const std::vector<Case> kCases = {
    {"odd sizes", 23, 19, 13, kNoLimit, Routing::spread},
    {"vectors", 37, 48, 40, kNoLimit, Routing::padded},
    {"more rows than a tile", 150, 144, 72, kNoLimit, Routing::spread},
    {"all tokens to two experts", 140, 64, 264, kNoLimit, Routing::one_sided},
    {"dropped assignments", 60, 272, 136, 7, Routing::padded},
    {"more lines than stages", 20, 1040, 64, kNoLimit, Routing::spread},
    {"nothing but padding", 0, 64, 64, kNoLimit, Routing::padded},
};

// bf16 numbers, some rows of them zeros, one column of a size that the others vanish beside, and what they
// are as FP8.
class ExpertsFp8Test : public experts::ExpertsFixture {
 public:
  Tensor operand(const char* name, const std::vector<int64_t>& shape, float scale = 1) {
    Values x = values(normal(name, DType::bf16, shape, scale));
    const auto columns = static_cast<size_t>(shape.back());
    for (size_t i = 0; i < x.size(); ++i) {
      if (i % columns == 3) x[i] *= 100;
      if (i / columns % 7 == 2) x[i] = 0;
    }
    return of(DType::bf16, shape, x);
  }
  ScaledRows empty_rows(const std::vector<int64_t>& shape) {
    return {zeros(DType::e4m3, shape), zeros(DType::f32, {shape.begin(), shape.end() - 1})};
  }
  ScaledRows by_rows(const Tensor& x) {
    const ScaledRows q = empty_rows({x.shape(), x.shape() + x.rank()});
    ops().quantise_rows(q, x);
    return q;
  }
  ScaledRows by_columns(const Tensor& x) {
    const ScaledRows q = empty_rows({x.dim(0), x.dim(2), x.dim(1)});
    ops().quantise_columns({q, x});
    return q;
  }
  // What the numbers stand for.
  Values values_of(const ScaledRows& q) {
    Values result = values(q.value);
    const Values scale = values(q.scale);
    for (size_t i = 0; i < result.size(); ++i) result[i] *= scale[i / (result.size() / scale.size())];
    return result;
  }
  // What sums of d products may lose on the way (ops/fp8_experts.h).
  static double of_sums(int64_t d) { return std::pow(static_cast<double>(d) / 32 * 0x1p-13, 2); }
  void check_up(const Case& c);
  void check_down(const Case& c);
};

void ExpertsFp8Test::check_up(const Case& c) {
  SCOPED_TRACE(c.name);
  const RoutePlan plan = plan_of(c, c.tokens_of_plan());
  const int64_t N = c.tokens_of_plan(), R = N * kChoices;
  const ScaledRows x = by_rows(operand("x", {N, c.d})),
                   w = by_rows(operand("up", {kExperts, 2 * c.f, c.d}, 0.2F));
  const Tensor h = zeros(DType::bf16, {R, 2 * c.f}), a = zeros(DType::bf16, {R, c.f});
  const auto run = [&] {
    for (const Tensor& t : {h, a}) ops().fill(t, 7);
    ops().fp8_expert_up({h, a, x, w, plan});
    return std::pair(bytes(h), bytes(a));
  };
  const auto first = run();
  expect_up(h, a, values_of(x), values_of(w), plan, c, of_sums(c.d));
  EXPECT_EQ(first, run()) << "not the same bits again";
}

void ExpertsFp8Test::check_down(const Case& c) {
  SCOPED_TRACE(c.name);
  const RoutePlan plan = plan_of(c, c.tokens_of_plan());
  const int64_t N = c.tokens_of_plan(), R = N * kChoices;
  const ScaledRows dy = by_rows(operand("dy", {N, c.d}));
  const ScaledRows w = by_columns(operand("down", {kExperts, c.d, c.f}, 0.2F));
  const Tensor h = normal("h", DType::bf16, {R, 2 * c.f}),
               weight = normal("weight", DType::f32, {N, kChoices});
  const Tensor dh = zeros(DType::bf16, {R, 2 * c.f}), a = zeros(DType::bf16, {R, c.f}),
               dweight = zeros(DType::f32, {N, kChoices});
  for (const Tensor& t : {dh, a, dweight}) ops().fill(t, 7);
  ops().fp8_expert_down_backward({dh, a, dweight, dy, w, h, weight, plan});

  const Values offset = values(plan.offset_E1), slot = values(plan.slot_R);
  const auto d = static_cast<size_t>(c.d);
  const Values by_row = gathered(values_of(dy), slot, static_cast<size_t>(offset.back()), d);
  expect_down(dh, a, dweight, per_expert(by_row, values_of(w), offset, d, static_cast<size_t>(c.f), true), h,
              weight, plan, of_sums(c.d));
  const auto apart = bytes_in_use(dh, plan), others = bytes(dweight);
  ops().fp8_expert_down_backward({h, a, dweight, dy, w, h, weight, plan});
  EXPECT_EQ(apart, bytes_in_use(h, plan)) << "dh may be h";
  EXPECT_EQ(others, bytes(dweight)) << "not the same bits again";
}

TEST_F(ExpertsFp8Test, UpIsExactOnItsOperands) {
  for (const Case& c : kCases) check_up(c);
}

TEST_F(ExpertsFp8Test, DownBackwardIsExactOnItsOperands) {
  for (const Case& c : kCases) check_down(c);
}

// The scale NaN of one token reaches that token's rows and no other.
TEST_F(ExpertsFp8Test, ATokenThatIsNotFiniteMakesItsRowsNaN) {
  const Case c{"", 23, 32, 16, kNoLimit, Routing::spread};
  const RoutePlan plan = plan_of(c, c.tokens);
  const int64_t R = c.tokens * kChoices;
  Values in = values(operand("x", {c.tokens, c.d}));
  in[static_cast<size_t>(5 * c.d + 1)] = std::numeric_limits<double>::infinity();
  const ScaledRows x = by_rows(of(DType::bf16, {c.tokens, c.d}, in)),
                   w = by_rows(operand("up", {kExperts, 2 * c.f, c.d}));
  const Tensor h = zeros(DType::bf16, {R, 2 * c.f}), a = zeros(DType::bf16, {R, c.f});
  ops().fp8_expert_up({h, a, x, w, plan});
  const Values slot = values(plan.slot_R), out = values(h);
  for (size_t i = 0; i < out.size(); ++i)
    EXPECT_EQ(std::isnan(out[i]),
              static_cast<int64_t>(slot[i / static_cast<size_t>(2 * c.f)]) / kChoices == 5)
        << i;
}

TEST_F(ExpertsFp8Test, RefusesWrongShapes) {
  const Case c{"", 6, 16, 4, kNoLimit, Routing::spread};
  const RoutePlan plan = plan_of(c, c.tokens);
  const ScaledRows x = empty_rows({6, 16}), up = empty_rows({kExperts, 8, 16}),
                   down = empty_rows({kExperts, 4, 16});
  const Tensor h = zeros(DType::bf16, {12, 8}), a = zeros(DType::bf16, {12, 4}),
               weight = zeros(DType::f32, {6, kChoices});
  EXPECT_NO_THROW(ops().fp8_expert_up({h, a, x, up, plan}));
  EXPECT_THROW(ops().fp8_expert_up({h, a, x, down, plan}), InternalError);
  EXPECT_THROW(ops().fp8_expert_up({h, a, empty_rows({6, 15}), up, plan}), InternalError);
  EXPECT_THROW(ops().fp8_expert_up({h, a, {zeros(DType::e5m2, {6, 16}), x.scale}, up, plan}), InternalError);
  EXPECT_THROW(ops().fp8_expert_up({zeros(DType::f16, {12, 8}), zeros(DType::f16, {12, 4}), x, up, plan}),
               InternalError);
  EXPECT_NO_THROW(ops().fp8_expert_down_backward({h, a, weight, x, down, h, weight, plan}));
  EXPECT_THROW(ops().fp8_expert_down_backward({h, a, weight, x, up, h, weight, plan}), InternalError);
}

}  // namespace
}  // namespace moe::test
