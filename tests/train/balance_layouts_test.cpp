// SPDX-License-Identifier: MIT
// What balances the experts does not depend on how a step is cut: into micro-batches, and among ranks.
#include "train/layouts.h"

namespace moe::train {
namespace {

void expect_same(const Learnt& one, const Learnt& many, double bound, const std::string& name) {
  EXPECT_LE(largest_difference(one, many), bound) << name;
  for (const size_t step : {0, 1, 2}) {  // later a last bit may turn a choice
    const StepResult &a = one.steps[step], &b = many.steps[step];
    EXPECT_EQ(b.expert_count, a.expert_count) << name;
    for (size_t l = 0; l < a.balance_loss.size(); ++l)
      EXPECT_NEAR(b.balance_loss[l], a.balance_loss[l], 1e-6) << name;
    EXPECT_NEAR(b.gradient_norm, a.gradient_norm, 1e-5 * a.gradient_norm) << name;
  }
}

// A strong balance loss over the whole step is the same however the step is cut: into micro-batches, among
// ranks, with expert parallelism or not, kept or computed again. Over each micro-batch it is not.
TEST(Layouts, AGlobalBalanceLossDoesNotDependOnHowAStepIsCut) {
  const auto with = [](Setting setting, int64_t rows, BalanceScope over) {
    setting.rows = rows, setting.balance = 0.5, setting.balance_over = over, setting.steps = 20;
    return learn(setting);
  };
  const Learnt one = with({}, kRows, BalanceScope::global);
  double order = 0;  // what another order of additions can do
  for (const int64_t rows : {1, 3})
    order = std::max(order, largest_difference(one, with({}, rows, BalanceScope::global)));
  EXPECT_LT(order, 1e-4);
  EXPECT_EQ(largest_difference(one, with({}, kRows, BalanceScope::rank)), 0)
      << "with one micro-batch both are the same";
  EXPECT_GT(largest_difference(one, with({}, 1, BalanceScope::rank)), 1e-3)
      << "the two definitions hardly differ here";
  for (const auto& [setting, rows] : {std::pair<Setting, int64_t>{{2, data_parallel}, 6},
                                      {{2, zero1}, 3},
                                      {{3, zero1}, 4},
                                      {{4, zero1}, 3},
                                      {{4, expert, 4}, 3},
                                      {{4, expert, 2}, 1},
                                      {{4, zero1, 0, 0, 0, model::Recompute::full}, 3},
                                      {{2, expert, 2, 0, 0, model::Recompute::selective}, 2}}) {
    const Learnt many = with(setting, rows, BalanceScope::global);
    expect_same(one, many, std::max(10 * order, 1e-6), fmt::format("{}, rows {}", setting.name(), rows));
  }
}

// With the shares of the step before, likewise. Where weights stay, those are the step's own: from the second
// step on both have the same bits. What is reported is exact from the first.
TEST(Layouts, ABalanceLossOfThePreviousStepDoesNotDependOnHowAStepIsCut) {
  const auto with = [](Setting setting, int64_t rows, BalanceScope over) {
    setting.rows = rows, setting.balance = 0.5, setting.balance_over = over, setting.steps = 10;
    return learn(setting);
  };
  const Learnt one = with({}, kRows, BalanceScope::previous_step),
               global = with({}, kRows, BalanceScope::global);
  EXPECT_EQ(one.steps.front().balance_loss, global.steps.front().balance_loss);
  EXPECT_EQ(one.steps.front().z_loss, global.steps.front().z_loss);
  EXPECT_NE(one.steps.front().gradient_norm, global.steps.front().gradient_norm) << "even shares at first";
  const Learnt still = with({.rate = 0}, kRows, BalanceScope::previous_step),
               same = with({.rate = 0}, kRows, BalanceScope::global);
  EXPECT_EQ(still.steps[1].group_norm, same.steps[1].group_norm);
  double order = 0;  // what another order of additions can do
  for (const int64_t rows : {1, 3})
    order = std::max(order, largest_difference(one, with({}, rows, BalanceScope::previous_step)));
  EXPECT_LT(order, 1e-4);
  for (const auto& [setting, rows] : {std::pair<Setting, int64_t>{{2, data_parallel}, 6},
                                      {{3, zero1}, 4},
                                      {{4, expert, 2}, 1},
                                      {{.ranks = 2, .layout = expert, .overlap = true}, 3},
                                      {{4, zero1, 0, 0, 0, model::Recompute::full}, 3}}) {
    const Learnt many = with(setting, rows, BalanceScope::previous_step);
    expect_same(one, many, std::max(10 * order, 1e-6), fmt::format("{}, rows {}", setting.name(), rows));
  }
}

// Biases are moved by the choices of a whole step, those that capacity drops included: the same bits on all
// ranks, and however the step is cut.
TEST(Layouts, BiasesDoNotDependOnHowAStepIsCut) {
  const auto with = [](Setting setting, int64_t rows) {
    setting.rows = rows, setting.steps = 3, setting.score = RouterScore::sigmoid, setting.sequence = 0.05;
    setting.bias_rate = 0.01, setting.capacity = 1, setting.capacity_in = CapacityScope::row;
    return learn(setting);
  };
  const Learnt one = with({}, kRows);
  const std::vector<float>& bias = one.bias_of_ranks.front();
  ASSERT_EQ(bias.size(), 8U) << "two layers of four experts";
  EXPECT_GT(*std::max_element(bias.begin(), bias.end()), 0.009F);
  EXPECT_GT(one.steps.front().dropped_share.front(), 0.01) << "nothing was dropped";
  for (const auto& [setting, rows] : {std::pair<Setting, int64_t>{{}, 1},
                                      {{}, 4},
                                      {{1, data_parallel, 0, 0, 0, model::Recompute::full}, 3},
                                      {{2, data_parallel}, 6},
                                      {{2, zero1}, 3},
                                      {{4, zero1, 0, 0, 0, model::Recompute::selective}, 1},
                                      {{2, expert, 2}, 3},
                                      {{4, expert, 2}, 1}}) {
    const Learnt many = with(setting, rows);
    EXPECT_THAT(many.bias_of_ranks, ::testing::Each(bias)) << setting.name() << ", rows " << rows;
    for (size_t step = 0; step < one.steps.size(); ++step) {
      const StepResult &a = one.steps[step], &b = many.steps[step];
      EXPECT_EQ(b.expert_count, a.expert_count) << setting.name() << ", rows " << rows;
      EXPECT_NEAR(b.gradient_norm, a.gradient_norm, 1e-4 * a.gradient_norm) << setting.name();
      for (size_t l = 0; l < a.sequence_loss.size(); ++l)
        EXPECT_NEAR(b.sequence_loss[l], a.sequence_loss[l], 1e-5) << setting.name();
    }
  }
}

}  // namespace
}  // namespace moe::train
