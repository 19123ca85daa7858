// SPDX-License-Identifier: MIT
// The draw of a token against one in doubles over sorted lists.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"
#include "support/compare.h"
#include "support/golden.h"
#include "support/reference.h"

namespace moe::test {
namespace {

constexpr int kDraws = 1 << kDrawBits;

// Holtzman et al. 2020 and transformers' filters as they are written there: lists of probabilities.
int reference_sample(const Values& logits, const SamplingRule& rule, int draw) {
  std::vector<size_t> id(logits.size());
  std::iota(id.begin(), id.end(), 0U);
  if (rule.top_k > 0 || rule.top_p < 1)
    std::stable_sort(id.begin(), id.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  if (rule.top_k > 0) id.resize(std::min(id.size(), static_cast<size_t>(rule.top_k)));
  const double top = *std::max_element(logits.begin(), logits.end());
  const auto weight = [&](size_t i) { return std::exp((logits[i] - top) / rule.temperature); };
  const auto total = [&] {
    double sum = 0;
    for (const size_t i : id) sum += weight(i);
    return sum;
  };
  if (rule.top_p < 1) {
    double sum = 0;
    size_t kept = 0;
    for (const double goal = rule.top_p * total(); sum < goal; ++kept) sum += weight(id[kept]);
    id.resize(kept);
  }
  std::erase_if(id, [&](size_t i) { return weight(i) < rule.min_p; });
  const double goal = total() * draw / kDraws;
  double sum = 0;
  for (const size_t i : id)
    if ((sum += weight(i)) > goal) return static_cast<int>(i);
  return static_cast<int>(id.back());
}

class SampleTest : public OpsTest {
 protected:
  Values sampled(const Tensor& logits_NV, const std::vector<int>& draws, int64_t columns,
                 const SamplingRule& rule, int64_t except = -1) {
    const Tensor id = zeros(DType::i32, {logits_NV.dim(0)});
    ops().sample({id, logits_NV, of(DType::i32, {logits_NV.dim(0)}, draws), columns, except, rule});
    return values(id);
  }
};

const SamplingRule kRules[] = {{.temperature = 0.8},
                               {.temperature = 3},
                               {.temperature = 1, .min_p = 0.05},
                               {.temperature = 1, .top_k = 1},
                               {.temperature = 1, .top_k = 40},
                               {.temperature = 0.7, .top_k = 5000},
                               {.temperature = 1, .top_p = 0.9},
                               {.temperature = 2, .top_p = 0.3},
                               {.temperature = 1.3, .top_k = 50, .top_p = 0.8, .min_p = 0.1}};

std::string said(const SamplingRule& rule, int draw) {
  return "temperature " + std::to_string(rule.temperature) + ", top_k " + std::to_string(rule.top_k) +
         ", top_p " + std::to_string(rule.top_p) + ", min_p " + std::to_string(rule.min_p) + ", draw " +
         std::to_string(draw);
}

TEST_F(SampleTest, DrawsWhatListsOfProbabilitiesSay) {
  constexpr int64_t kRows = 3, kColumns = 1100, kWidth = 1104;
  const Random random(3, "draws");
  uint64_t next = 0;
  for (const auto& [dtype, spread] :
       {std::pair{DType::f32, 2.0F}, {DType::bf16, 0.1F}, {DType::bf16, 8.0F}, {DType::f16, 2.0F}}) {
    const Tensor logits = normal("logits", dtype, {kRows, kWidth}, spread);
    const Values all = values(logits);
    for (const SamplingRule& rule : kRules) {
      std::vector<int> draws(kRows);
      for (int& draw : draws) draw = static_cast<int>(random.below(next++, kDraws));
      const Values ids = sampled(logits, draws, kColumns, rule);
      for (size_t n = 0; n < kRows; ++n) {
        const auto row = all.begin() + static_cast<long>(n * kWidth);
        EXPECT_EQ(ids[n], reference_sample({row, row + kColumns}, rule, draws[n]))
            << moe::name_of(dtype) << ", " << said(rule, draws[n]);
      }
    }
  }
}

TEST(SampleRow, DrawsWhatListsOfProbabilitiesSay) {
  const Random random(4, "logits"), draws(4, "draws");
  uint64_t next = 0;
  for (const float spread : {0.1F, 2.0F, 8.0F}) {
    std::vector<float> logits(500);
    for (float& logit : logits) logit = spread * random.normal(next++);
    const Values exact(logits.begin(), logits.end());
    for (const SamplingRule& rule : kRules)
      for (int i = 0; i < 300; ++i) {
        const auto draw = static_cast<int>(draws.below(next++, kDraws));
        ASSERT_EQ(sample_row(logits, rule, static_cast<uint32_t>(draw)), reference_sample(exact, rule, draw))
            << spread << ", " << said(rule, draw);
      }
  }
}

// Whole numbers: each draw at a border belongs to the token behind it.
TEST_F(SampleTest, EqualTokensHaveEqualSharesInTheOrderOfTheirIds) {
  constexpr int kQuarter = kDraws / 4;
  const std::vector<int> draws{0, kQuarter - 1, kQuarter, 2 * kQuarter, kDraws - 1};
  Values rows;
  for (size_t n = 0; n < draws.size(); ++n)
    for (const double x : {0.0, -0.0, -9e3, 0.0, -0.0, 5.0}) rows.push_back(x);  // both zeros are equal
  for (const DType dtype : kActivations) {
    const Tensor logits = of(dtype, {5, 6}, rows);
    EXPECT_EQ(sampled(logits, draws, 5, {.temperature = 1}), (Values{0, 0, 1, 3, 4}));
    EXPECT_EQ(sampled(logits, draws, 5, {.temperature = 1, .top_k = 4}), (Values{0, 0, 1, 3, 4}));
    EXPECT_EQ(sampled(logits, draws, 5, {.temperature = 1, .top_k = 2}), (Values{0, 0, 0, 1, 1}));
  }
  const Tensor logits = of(DType::bf16, {5, 6}, rows);
  EXPECT_EQ(sampled(logits, draws, 5, {.temperature = 5, .top_p = 0.9}), (Values{0, 0, 1, 3, 4}));
  EXPECT_EQ(sampled(logits, draws, 5, {.temperature = 1, .top_p = 0.5}), (Values{0, 0, 0, 1, 1}));
  EXPECT_EQ(sampled(logits, draws, 5, {.temperature = 1, .min_p = 1}), (Values{0, 0, 1, 3, 4}));
  EXPECT_EQ(sampled(logits, draws, 6, {.temperature = 1e-300}), Values(5, 5.0));
  EXPECT_EQ(sampled(logits, draws, 6, {.temperature = 1}, 5), (Values{0, 0, 1, 3, 4})) << "without 5";
  EXPECT_EQ(sampled(logits, draws, 6, {.temperature = 1, .top_k = 6}, 5), (Values{0, 0, 1, 3, 4}));
}

TEST_F(SampleTest, WhatIsNoNumberGivesNoToken) {
  const double infinity = std::numeric_limits<double>::infinity(), nan = std::nan("");
  for (const DType dtype : kActivations)
    for (const int64_t top_k : {0, 2}) {
      const Tensor logits = of(dtype, {5, 3},
                               Values{1, nan, 2, -infinity, -infinity, -infinity,  //
                                      0, infinity, 1, -infinity, 3, -infinity, 1, 2, nan});
      const SamplingRule rule{.temperature = 1, .top_k = top_k};
      EXPECT_EQ(sampled(logits, std::vector<int>(5, kDraws / 2), 3, rule), (Values{-1, -1, -1, 1, -1}));
      EXPECT_EQ(sampled(logits, std::vector<int>(5, kDraws - 1), 3, rule, 2)[4], top_k == 0 ? 1 : 0)
          << "what is left out need be no number";
    }
}

TEST_F(SampleTest, SameTokensWithAnyNumberOfThreads) {
  expect_same_bits([](Machine& machine) {
    const Tensor logits = machine.normal("logits", DType::bf16, {9, 3000}),
                 id = machine.zeros(DType::i32, {9});
    const Tensor draw =
        machine.of<int>(DType::i32, {9}, {0, 1, 1 << 20, 5, 9, 1 << 23, 77, 1 << 22, 1234567});
    machine.ops().sample({id, logits, draw, 3000, -1, {.temperature = 1, .top_p = 0.7}});
    return std::vector{id};
  });
}

TEST_F(SampleTest, RefusesWrongShapesAndRules) {
  const Tensor id = zeros(DType::i32, {2}), x = zeros(DType::f32, {2, 8}), draw = zeros(DType::i32, {2});
  EXPECT_THROW(ops().sample({id, x, draw, 9, -1, {}}), InternalError);
  EXPECT_THROW(ops().sample({id, x, draw, 0, -1, {}}), InternalError);
  EXPECT_THROW(ops().sample({x, x, draw, 8, -1, {}}), InternalError);
  EXPECT_THROW(ops().sample({id, x, zeros(DType::i32, {1}), 8, -1, {}}), InternalError);
  EXPECT_THROW(ops().sample({id, x, draw, 8, -1, {.temperature = 0}}), InternalError);
  EXPECT_THROW(ops().sample({id, x, draw, 8, -1, {.top_k = -1}}), InternalError);
  EXPECT_THROW(ops().sample({id, x, draw, 8, -1, {.top_p = 0}}), InternalError);
}

}  // namespace
}  // namespace moe::test
