// SPDX-License-Identifier: MIT
// What raises an alert, what does not, and that each kind is not told again and again.
#include "metrics/alerts.h"

#include <gmock/gmock.h>

#include <cmath>

namespace moe::metrics {
namespace {

class AlertsTest : public ::testing::Test, public Sink {
 protected:
  void write(const Row& row) override {
    told_.emplace_back(row.step, std::get<std::string>(*row.find("alert")));
    text_ = std::get<std::string>(*row.find("alert_text"));
  }
  static Row row(int64_t step, double loss = 3) {
    Row row{step, {}};
    row.add("loss", loss + 0.01 * std::sin(static_cast<double>(step)));
    return row;
  }
  using Told = std::vector<std::pair<int64_t, std::string>>;
  Told told_;
  std::string text_;
};

TEST_F(AlertsTest, LossSpike) {
  Alerts alerts({}, *this);
  for (int64_t step = 1; step <= 300; ++step) {
    const bool spike = step == 20 || step == 200 || step == 210;  // the first while the mean is warming up
    alerts.write(row(step, spike ? 4 : 3));
  }
  EXPECT_EQ(told_, (Told{{200, "loss_spike"}}));
  EXPECT_THAT(text_, testing::HasSubstr("training.learning_rate"));
}

TEST_F(AlertsTest, AFallingLossIsNone) {
  Alerts alerts({}, *this);
  for (int64_t step = 1; step <= 500; ++step)
    alerts.write(row(step, 3 + 7 * std::exp(-static_cast<double>(step) / 40)));
  alerts.write(row(501, std::nan("")));
  EXPECT_EQ(told_, Told{});
}

TEST_F(AlertsTest, DeadExperts) {
  Alerts alerts({.dead_steps = 10}, *this, 3);  // three layers have no router
  for (int64_t step = 1; step <= 40; ++step) {
    Row one = row(step);
    one.add("layers/expert_counts", std::vector<std::vector<double>>{{5, 5}, {10, step == 15 ? 1.0 : 0.0}});
    alerts.write(one);
  }
  EXPECT_EQ(told_, (Told{{10, "dead_experts"}}));
  EXPECT_THAT(text_, testing::HasSubstr("layer 4 expert 1"));
}

// Those that die while the alert is quiet are told when that ends, if they are still dead; or at the end of
// the run.
TEST_F(AlertsTest, ExpertsThatDieInTheQuiet) {
  Alerts alerts({.dead_steps = 10}, *this);
  const auto row_with = [&](int64_t step) {
    Row one = row(step);
    const auto alive = [&](int64_t from, int64_t again = 1 << 20) {
      return step < from || step >= again ? 1.0 : 0.0;
    };
    one.add("layers/expert_counts", std::vector<std::vector<double>>{
                                        {9, alive(1)}, {alive(31), alive(51)}, {alive(41, 100), alive(401)}});
    return one;
  };
  for (int64_t step = 1; step <= 420; ++step) alerts.write(row_with(step));
  EXPECT_EQ(told_, (Told{{10, "dead_experts"}, {210, "dead_experts"}, {410, "dead_experts"}}));
  EXPECT_THAT(text_, testing::HasSubstr("4 experts"));
  alerts.finish(0);
  EXPECT_EQ(told_.size(), 3U) << "nothing new";

  Alerts ends({.dead_steps = 10}, *this);
  told_.clear();
  for (int64_t step = 1; step <= 70; ++step) ends.write(row_with(step));
  EXPECT_EQ(told_, (Told{{10, "dead_experts"}}));
  ends.finish(0);
  EXPECT_EQ(told_, (Told{{10, "dead_experts"}, {70, "dead_experts"}}));
  EXPECT_THAT(text_, testing::HasSubstr("4 experts"));
}

TEST_F(AlertsTest, WhatFp8Loses) {
  Alerts alerts({}, *this);
  const auto write = [&](int64_t step, double projections, double logits, double saturated) {
    Row one = row(step);
    one.add("fp8/projection_gradient/flushed_share", projections)
        .add("fp8/logits_gradient/flushed_share", logits)
        .add("fp8/logits_gradient/saturated_share", saturated);
    alerts.write(one);
  };
  write(1, 0.04, 0.3, 0);
  EXPECT_EQ(told_, Told{});
  write(2, 0.06, 0.3, 0);
  EXPECT_THAT(text_, testing::HasSubstr("6.0 % of the numbers of projection_gradient become 0"));
  write(3, 0.06, 0.3, 0.2);  // quiet
  write(202, 0.06, 0.3, 0.2);
  EXPECT_EQ(told_, (Told{{2, "fp8_lost"}, {202, "fp8_lost"}}));
  EXPECT_THAT(text_, testing::HasSubstr("20.0 % of the numbers of logits_gradient are too large"));
}

TEST_F(AlertsTest, DropsAndStarvation) {
  Alerts alerts({}, *this);
  for (int64_t step = 1; step <= 400; ++step) {
    Row one = row(step);
    one.add("dropped_share", step > 100 ? 0.6 : 0.1)
        .add("data_wait_seconds", step > 150 ? 0.5 : 0.01)
        .add("step_seconds", 1.0);
    alerts.write(one);
  }
  ASSERT_EQ(told_.size(), 4U);
  EXPECT_EQ(told_[0].second, "dropped");
  EXPECT_EQ(told_[1].second, "data_starved");
  EXPECT_EQ(told_[2].first, told_[0].first + Alerts::kQuiet);
  Alerts off({0, 0, 0, 0}, *this);
  told_.clear();
  for (int64_t step = 1; step <= 400; ++step) {
    Row one = row(step, step == 300 ? 9 : 3);
    one.add("dropped_share", 1.0).add("data_wait_seconds", 1.0).add("step_seconds", 1.0);
    off.write(one);
  }
  EXPECT_EQ(told_, Told{});
}

}  // namespace
}  // namespace moe::metrics
