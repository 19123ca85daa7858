// SPDX-License-Identifier: MIT
// Biases against PyTorch (tools/make_router_goldens.py); shares and sums of a step against the router's
// losses over all of its tokens at once.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/error.h"
#include "support/compare.h"
#include "support/golden.h"

namespace moe::test {
namespace {

class BalanceTest : public OpsTest {};

// Twenty roundings of numbers below 0.01.
TEST_F(BalanceTest, BiasesMatchTorch) {
  const Golden golden("router.safetensors", "bias.");
  const Tensor count_SE = golden.tensor(*this, "count"), one = of<float>(DType::f32, {1}, {0.3F});
  const auto after = golden.values(*this, "after");
  const auto S = count_SE.dim(0), E = count_SE.dim(1);
  const Tensor bias_E = zeros(DType::f32, {E});
  for (int64_t step = 0; step < S; ++step) {
    ops().router_bias({bias_E, count_SE.rows(step, step + 1), one, 1e-3F});
    const auto bias = values(bias_E);
    for (int64_t e = 0; e < E; ++e)
      EXPECT_NEAR(bias[static_cast<size_t>(e)], after[static_cast<size_t>(step * E + e)], 2e-8) << step;
    EXPECT_NEAR(std::accumulate(bias.begin(), bias.end(), 0.0), 0, 1e-8);
  }
}

// Counts that f32 cannot tell apart, of which the mean is no whole number.
TEST_F(BalanceTest, TheSignIsThatOfWholeNumbers) {
  const Tensor bias_E = zeros(DType::f32, {3}), one = of<float>(DType::f32, {1}, {1});
  const Tensor count_E = of<int32_t>(DType::i32, {3}, {700000001, 700000000, 700000001});
  ops().router_bias({bias_E, count_E, one, 0.75F});
  EXPECT_EQ(values(bias_E), (std::vector<double>{-0.5, 1, -0.5}));
}

TEST_F(BalanceTest, AStepThatIsSkippedChangesNothing) {
  const Tensor bias_E = of<float>(DType::f32, {2}, {0.5F, -0.5F}), skipped = of<float>(DType::f32, {1}, {-1});
  ops().router_bias({bias_E, of<int32_t>(DType::i32, {2}, {9, 1}), skipped, 0.1F});
  EXPECT_EQ(values(bias_E), (std::vector<double>{0.5, -0.5}));
  const Tensor share_LE = of<float>(DType::f32, {1, 2}, {0.5F, 0.5F});
  ops().balance_shares({share_LE, of<int32_t>(DType::i32, {1, 2}, {9, 1}), skipped});
  EXPECT_EQ(values(share_LE), (std::vector<double>{0.5, 0.5}));
  ops().balance_shares({share_LE, of<int32_t>(DType::i32, {1, 2}, {3, 1})});
  EXPECT_EQ(values(share_LE), (std::vector<double>{0.75, 0.25}));
  ops().balance_shares({share_LE, zeros(DType::i32, {1, 2})});
  EXPECT_EQ(values(share_LE), (std::vector<double>{0, 0})) << "a step without tokens";
}

// Two micro-batches of different numbers of tokens, one with padding, are as one of all their tokens.
TEST_F(BalanceTest, SumsOfMicroBatchesAreThoseOfAllTokens) {
  constexpr int64_t kTokens = 50, kFirst = 13, kExperts = 70, kChoices = 2;
  const Tensor logits = normal("logits", DType::f32, {kTokens, kExperts}, 2);
  std::vector<int> padding(kTokens, 0);
  padding[3] = padding[4] = -1;
  const Tensor start = of<int>(DType::i32, {kTokens}, padding);
  const Tensor loss = zeros(DType::f32, {2}), P = zeros(DType::f32, {kExperts}),
               f = zeros(DType::f32, {kExperts}), first = zeros(DType::i32, {1, kExperts}),
               sum = zeros(DType::f64, {1, kExperts + 1}), share = zeros(DType::f32, {1, kExperts});
  const auto losses_of = [&](int64_t begin, int64_t end) {
    const int64_t n = end - begin;
    const Tensor probability = zeros(DType::f32, {n, kExperts}), lse = zeros(DType::f32, {n}),
                 expert = zeros(DType::i32, {n, kChoices}), weight = zeros(DType::f32, {n, kChoices});
    const RoutePlan plan{zeros(DType::i32, {kExperts + 1}), zeros(DType::i32, {n * kChoices}),
                         zeros(DType::i32, {n, kChoices}), zeros(DType::i32, {kExperts}),
                         zeros(DType::i32, {kExperts})};
    const Tensor rows = start.rows(begin, end);
    ops().route({probability, lse, expert, weight, logits.rows(begin, end), rows, RouterRule{}});
    ops().route_plan(plan, expert, {});
    ops().router_losses({loss, P, f, probability, lse, plan.top1_count_E, rows});
    return plan.top1_count_E;
  };
  for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, kFirst}, {kFirst, kTokens}}) {
    const Tensor top1 = losses_of(begin, end);
    ops().balance_sums({first, sum, top1, P, loss});
  }
  const Tensor all = losses_of(0, kTokens);
  EXPECT_EQ(values(first), values(all));
  ops().balance_shares({share, first});
  EXPECT_EQ(values(share), values(f));
  auto means = values(sum);
  for (double& mean : means) mean /= kTokens - 2;
  EXPECT_NEAR(means.back() / values(loss)[1], 1, 1e-6);
  means.pop_back();
  EXPECT_TRUE(close(means, values(P), kBoundF32));
}

TEST_F(BalanceTest, RefusesWrongShapesAndTypes) {
  const Tensor f3 = zeros(DType::f32, {3}), i3 = zeros(DType::i32, {3}), f1 = zeros(DType::f32, {1});
  EXPECT_THROW(ops().router_bias({f3, f3, f1, 1}), InternalError);
  EXPECT_THROW(ops().router_bias({f3, zeros(DType::i32, {2}), f1, 1}), InternalError);
  EXPECT_THROW(ops().router_bias({f3, i3, f3, 1}), InternalError);
  EXPECT_THROW(ops().balance_shares({f3, i3}), InternalError);
  EXPECT_THROW(ops().balance_shares({zeros(DType::f32, {1, 2}), zeros(DType::i32, {1, 3})}), InternalError);
  const Tensor sum = zeros(DType::f64, {4}), loss = zeros(DType::f32, {2});
  EXPECT_THROW(ops().balance_sums({i3, zeros(DType::f64, {3}), i3, f3, loss}), InternalError);
  EXPECT_THROW(ops().balance_sums({f3, sum, i3, f3, loss}), InternalError);
  EXPECT_THROW(ops().balance_sums({i3, sum, i3, f3, f1}), InternalError);
}

}  // namespace
}  // namespace moe::test
