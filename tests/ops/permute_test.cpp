// SPDX-License-Identifier: MIT
// The plan against a stable sort by the standard library, and the moves of rows against each other.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "base/error.h"
#include "support/compare.h"
#include "support/golden.h"
#include "support/gradcheck.h"

namespace moe::test {
namespace {

constexpr int64_t kNoLimit = Capacity::kNoLimit;

RoutePlan empty_plan(Machine& machine, int64_t n, int64_t k, int64_t e) {
  return {machine.zeros(DType::i32, {e + 1}), machine.zeros(DType::i32, {n * k}),
          machine.zeros(DType::i32, {n, k}), machine.zeros(DType::i32, {e}), machine.zeros(DType::i32, {e})};
}

// Choices that leave the last expert without a token; every fifth token is padding when asked for.
std::vector<int> choices(int64_t n, int64_t k, int64_t e, bool padding) {
  const Random random(5, "choices");
  std::vector<int> expert;
  for (int64_t t = 0; t < n; ++t)
    for (int64_t j = 0; j < k; ++j) {
      const auto shift = static_cast<int64_t>(
          random.below(static_cast<uint64_t>(t), static_cast<uint64_t>(std::max<int64_t>(1, e - 1))));
      expert.push_back(padding && t % 5 == 2 ? -1
                                             : static_cast<int>((shift + j) % std::max<int64_t>(1, e - 1)));
    }
  return expert;
}

class PermuteTest : public OpsTest {
 public:
  Tensor none;

  void expect_plan(const std::vector<int>& expert, int64_t n, int64_t k, int64_t e,
                   const Capacity& capacity) {
    const RoutePlan plan = empty_plan(*this, n, k, e);
    ops().route_plan(plan, of(DType::i32, {n, k}, expert), capacity);
    // By definition: assignments in the order of choice, then token; a stable sort by expert; the first ones
    // of each group.
    std::vector<int> order;
    for (int j = 0; j < k; ++j)
      for (int t = 0; t < n; ++t)
        if (expert[static_cast<size_t>(t * k + j)] >= 0) order.push_back(static_cast<int>(t * k + j));
    const auto expert_of = [&](int a) { return expert[static_cast<size_t>(a)]; };
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return expert_of(a) < expert_of(b); });
    std::vector<double> row(static_cast<size_t>(n * k), -1), slot, offset{0}, count, first;
    for (int x = 0; x < e; ++x) {
      int asked = 0, firsts = 0;
      std::map<int64_t, int64_t> taken;  // by group
      for (const int a : order) {
        if (expert_of(a) != x) continue;
        ++asked;
        firsts += a % k == 0 ? 1 : 0;
        const int64_t group = capacity.tokens == 0 ? 0 : a / k / capacity.tokens;
        if (taken[group] == capacity.rows) continue;
        row[static_cast<size_t>(a)] = static_cast<double>(slot.size());
        slot.push_back(a);
        ++taken[group];
      }
      offset.push_back(static_cast<double>(slot.size()));
      count.push_back(asked);
      first.push_back(firsts);
    }
    EXPECT_EQ(values(plan.offset_E1), offset);
    EXPECT_EQ(values(plan.row_NK), row);
    EXPECT_EQ(values(plan.count_E), count);
    EXPECT_EQ(values(plan.top1_count_E), first);
    auto used = values(plan.slot_R);
    used.resize(slot.size());
    EXPECT_EQ(used, slot);
  }
};

TEST_F(PermuteTest, PlanIsAStableSortCutAtTheCapacity) {
  for (const int64_t n : {1, 7, 33, 200})
    for (const int64_t k : {1, 2, 3})
      for (const int64_t capacity : {kNoLimit, int64_t{1}, int64_t{5}, int64_t{1000}})
        for (const bool padding : {false, true}) expect_plan(choices(n, k, 5, padding), n, k, 5, {capacity});
}

TEST_F(PermuteTest, ACapacityOfGroupsCountsEachByItself) {
  for (const int64_t tokens : {1, 7, 32, 100, 300})
    for (const int64_t groups : {1, 2, 5})
      for (const int64_t k : {1, 3})
        for (const int64_t rows : {kNoLimit, int64_t{1}, int64_t{5}, int64_t{1000}}) {
          const int64_t n = tokens * groups;
          expect_plan(choices(n, k, 5, true), n, k, 5, {rows, tokens});
        }
  expect_plan(std::vector<int>(66, 2), 66, 1, 4, {20, 33});   // all to one
  expect_plan(std::vector<int>(66, -1), 66, 1, 4, {20, 33});  // all padding
  expect_plan(choices(1500, 2, 300, true), 1500, 2, 300, {1, 500});
}

TEST_F(PermuteTest, PlanOfOneSidedChoices) {
  expect_plan(std::vector<int>(33, 2), 33, 1, 4, {});  // all to one
  expect_plan(std::vector<int>(33, 2), 33, 1, 4, {1});
  expect_plan(std::vector<int>(33, -1), 33, 1, 4, {});  // all padding
  expect_plan(std::vector<int>(7, 0), 7, 1, 1, {});     // one expert
  expect_plan(choices(1500, 2, 300, true), 1500, 2, 300, {4});
}

TEST_F(PermuteTest, GathersTheTokenOfEachRow) {
  for (const DType dtype : kActivations)
    for (const int64_t capacity : {kNoLimit, int64_t{3}}) {
      const int64_t n = 33, k = 2, e = 5, d = capacity == kNoLimit ? 19 : 520;
      const RoutePlan plan = empty_plan(*this, n, k, e);
      ops().route_plan(plan, of(DType::i32, {n, k}, choices(n, k, e, true)), {capacity});
      const Tensor x = normal("x", dtype, {n, d}), y = normal("y", dtype, {n * k, d});
      const auto before = values(y), rows = values(x), slot = values(plan.slot_R);
      ops().gather_rows(y, x, plan);
      const auto got = values(y);
      const auto used = static_cast<size_t>(values(plan.offset_E1).back());
      for (size_t i = 0; i < got.size(); ++i) {
        const size_t width = static_cast<size_t>(d), row = i / width;
        const size_t token = row < used ? static_cast<size_t>(slot[row]) / 2 : 0;
        ASSERT_EQ(got[i], row < used ? rows[token * width + i % width] : before[i]) << i;
      }
    }
}

// combine is the transpose of gather: <combine(x), r> = <x, gather(r)> over the rows in use. And linear in
// weight.
TEST_F(PermuteTest, CombineIsTheTransposeOfGather) {
  for (const int64_t n : {1, 7, 33})
    for (const int64_t capacity : {kNoLimit, int64_t{2}}) {
      const int64_t k = 3, e = 5, d = 300;
      const RoutePlan plan = empty_plan(*this, n, k, e);
      ops().route_plan(plan, of(DType::i32, {n, k}, choices(n, k, e, true)), {capacity});
      const Tensor x = normal("x", DType::f32, {n * k, d}), r = normal("r", DType::f32, {n, d});
      const Tensor y = zeros(DType::f32, {n, d}), gathered = zeros(DType::f32, {n * k, d});
      ops().combine_rows({y, none, x, none, plan});
      ops().gather_rows(gathered, r, plan);
      const double forward = inner(*this, y, r), back = inner(*this, gathered, x);
      EXPECT_NEAR(forward, back, 1e-4 * std::sqrt(static_cast<double>(n * d)));
      const Tensor weight = normal("weight", DType::f32, {n, k}), dweight = zeros(DType::f32, {n, k});
      const auto weighted = [&] {
        ops().combine_rows({y, r, x, weight, plan});
        return inner(*this, y, r);
      };
      const auto row = values(plan.row_NK), rows = values(x), tokens = values(r);
      std::vector<double> expected(row.size());
      for (size_t a = 0; a < row.size(); ++a)
        for (size_t i = 0; row[a] >= 0 && i < 300; ++i)
          expected[a] += rows[static_cast<size_t>(row[a]) * 300 + i] * tokens[a / 3 * 300 + i];
      set(dweight, expected);
      if (n > 1) {
        EXPECT_TRUE(gradient_agrees(*this, dweight, weight, weighted));
      }
    }
}

TEST_F(PermuteTest, CombineAddsTheResidualAlsoInPlace) {
  const int64_t n = 9, k = 2, d = 552;
  const RoutePlan plan = empty_plan(*this, n, k, 5);
  ops().route_plan(plan, of(DType::i32, {n, k}, choices(n, k, 5, true)), {});
  for (const DType dtype : kActivations) {
    const Tensor x = normal("x", dtype, {n * k, d}), residual = normal("residual", dtype, {n, d});
    const Tensor y = zeros(dtype, {n, d}), alone = zeros(DType::f32, {n, d});
    const Tensor weight = normal("weight", DType::f32, {n, k});
    ops().combine_rows({y, residual, x, weight, plan});
    const Tensor here = of(dtype, {n, d}, values(residual));
    ops().combine_rows({here, here, x, weight, plan});
    EXPECT_EQ(bytes(here), bytes(y));
    // The same in f32 on the same rounded inputs, the residual added by the test.
    ops().combine_rows({alone, none, of(DType::f32, {n * k, d}, values(x)), weight, plan});
    auto expected = values(alone);
    const auto added = values(residual);
    for (size_t i = 0; i < expected.size(); ++i) expected[i] += added[i];
    EXPECT_TRUE(close(values(y), expected, bound_of(dtype)));
  }
}

TEST_F(PermuteTest, SameBitsWithAnyNumberOfThreads) {
  expect_same_bits([](Machine& machine) {
    const RoutePlan plan = empty_plan(machine, 300, 2, 6);
    machine.ops().route_plan(plan, machine.of(DType::i32, {300, 2}, choices(300, 2, 6, true)), {70});
    const Tensor x = machine.normal("x", DType::bf16, {300, 40}),
                 rows = machine.zeros(DType::bf16, {600, 40});
    const Tensor y = machine.zeros(DType::bf16, {300, 40});
    machine.ops().gather_rows(rows, x, plan);
    machine.ops().combine_rows({y, x, rows, machine.normal("w", DType::f32, {300, 2}), plan});
    return std::vector{plan.offset_E1, plan.row_NK, plan.count_E, plan.top1_count_E, rows, y};
  });
}

TEST_F(PermuteTest, RefusesWrongShapesAndExperts) {
  const RoutePlan plan = empty_plan(*this, 4, 2, 3);
  const Tensor expert = zeros(DType::i32, {4, 2}), x = zeros(DType::f32, {4, 5}),
               rows = zeros(DType::f32, {8, 5});
  EXPECT_NO_THROW(ops().route_plan(plan, expert, {}));
  EXPECT_THROW(ops().route_plan(plan, zeros(DType::i32, {5, 2}), {}), InternalError);
  EXPECT_THROW(ops().route_plan(plan, zeros(DType::f32, {4, 2}), {}), InternalError);
  for (const int64_t too_few : {0, -1})
    EXPECT_THROW(ops().route_plan(plan, expert, {too_few}), InternalError);
  EXPECT_THROW(ops().route_plan(plan, expert, {1, 3}), InternalError);
  for (const int wrong : {3, -2}) {
    if (test_device() != "cpu") break;  // a kernel cannot throw: it stops the GPU
    const Tensor experts = of<int>(DType::i32, {4, 2}, {0, 1, 2, wrong, 0, 0, 0, 0});
    EXPECT_THROW(ops().route_plan(plan, experts, {}), InternalError);
  }
  EXPECT_THROW(ops().gather_rows(zeros(DType::f32, {7, 5}), x, plan), InternalError);
  EXPECT_THROW(ops().gather_rows(rows, zeros(DType::f32, {3, 5}), plan), InternalError);
  EXPECT_THROW(ops().gather_rows(zeros(DType::bf16, {8, 5}), x, plan), InternalError);
  EXPECT_THROW(ops().combine_rows({x, none, zeros(DType::f32, {8, 6}), none, plan}), InternalError);
  EXPECT_THROW(ops().combine_rows({x, rows, rows, none, plan}), InternalError);
  EXPECT_THROW(ops().combine_rows({x, none, rows, zeros(DType::f32, {4, 3}), plan}), InternalError);
}

}  // namespace
}  // namespace moe::test
