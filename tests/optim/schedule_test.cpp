// SPDX-License-Identifier: MIT
// Learning rates against numbers worked out by hand or in Python (given beside them).
#include "optim/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

namespace moe::optim {
namespace {

using Kind = Schedule::Kind;
using Decay = Schedule::Decay;

TEST(ScheduleTest, WarmUpIsLinearAndReachesThePeakAtItsLastStep) {
  for (const Kind kind : {Kind::constant, Kind::cosine, Kind::wsd}) {
    const Schedule s{.kind = kind, .peak = 8e-4, .warmup_steps = 4, .max_steps = 100};
    EXPECT_DOUBLE_EQ(learning_rate(s, 0), 2e-4);
    EXPECT_DOUBLE_EQ(learning_rate(s, 1), 4e-4);
    EXPECT_DOUBLE_EQ(learning_rate(s, 3), 8e-4);
    EXPECT_DOUBLE_EQ(learning_rate(s, 4), 8e-4);
  }
}

TEST(ScheduleTest, NoWarmUpStartsAtThePeak) {
  EXPECT_DOUBLE_EQ(learning_rate({.peak = 0.5, .warmup_steps = 0}, 0), 0.5);
}

TEST(ScheduleTest, ConstantStays) {
  const Schedule s{.kind = Kind::constant, .peak = 3e-4, .warmup_steps = 10, .max_steps = 20};
  for (const int64_t step : {10, 19, 20, 1000}) EXPECT_DOUBLE_EQ(learning_rate(s, step), 3e-4);
}

TEST(ScheduleTest, Cosine) {
  const Schedule s{.kind = Kind::cosine, .peak = 1, .ratio = 0.1, .warmup_steps = 100, .max_steps = 1100};
  EXPECT_DOUBLE_EQ(learning_rate(s, 600), 0.55);                  // half-way
  EXPECT_NEAR(learning_rate(s, 350), 0.8681980515339464, 1e-15);  // 0.1 + 0.9 * (1 + cos(pi / 4)) / 2
  EXPECT_NEAR(learning_rate(s, 850), 0.2318019484660536, 1e-15);  // 0.1 + 0.9 * (1 + cos(3 pi / 4)) / 2
  EXPECT_DOUBLE_EQ(learning_rate(s, 1100), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(s, 5000), 0.1);
}

TEST(ScheduleTest, WsdLinear) {
  const Schedule s{.kind = Kind::wsd, .peak = 2, .ratio = 0.2, .warmup_steps = 10, .max_steps = 1000};
  EXPECT_DOUBLE_EQ(learning_rate(s, 799), 2);
  EXPECT_DOUBLE_EQ(learning_rate(s, 800), 2);
  EXPECT_DOUBLE_EQ(learning_rate(s, 900), 1.2);  // half-way from 2 to 0.4
  EXPECT_DOUBLE_EQ(learning_rate(s, 950), 0.8);  // three quarters
  EXPECT_DOUBLE_EQ(learning_rate(s, 1000), 0.4);
  EXPECT_DOUBLE_EQ(learning_rate(s, 2000), 0.4);
}

TEST(ScheduleTest, WsdOneMinusSqrt) {
  const Schedule s{
      .kind = Kind::wsd, .decay = Decay::one_minus_sqrt, .peak = 1, .ratio = 0, .max_steps = 1000};
  EXPECT_DOUBLE_EQ(learning_rate(s, 800), 1);
  EXPECT_DOUBLE_EQ(learning_rate(s, 850), 0.5);                   // 1 - sqrt(1 / 4)
  EXPECT_NEAR(learning_rate(s, 900), 0.2928932188134524, 1e-15);  // 1 - sqrt(1 / 2)
  EXPECT_DOUBLE_EQ(learning_rate(s, 1000), 0);
}

TEST(ScheduleTest, WsdWithoutDecayAndAllDecay) {
  Schedule s{
      .kind = Kind::wsd, .peak = 1, .ratio = 0.5, .warmup_steps = 0, .max_steps = 10, .decay_fraction = 0};
  EXPECT_DOUBLE_EQ(learning_rate(s, 9), 1);
  EXPECT_DOUBLE_EQ(learning_rate(s, 10), 0.5);
  s.decay_fraction = 1;
  EXPECT_DOUBLE_EQ(learning_rate(s, 0), 1);
  EXPECT_DOUBLE_EQ(learning_rate(s, 5), 0.75);
}

TEST(ScheduleTest, WarmUpThatMeetsTheDecayTakesTheLower) {
  const Schedule s{
      .kind = Kind::wsd, .peak = 1, .ratio = 0, .warmup_steps = 100, .max_steps = 100, .decay_fraction = 0.5};
  EXPECT_DOUBLE_EQ(learning_rate(s, 49), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(s, 74), 0.52);  // decay; the warm-up alone would give 0.75
}

// However few steps a decay has, the last step of the run has the last rate; the steps before it follow the
// curve.
TEST(ScheduleTest, TheLastStepHasTheLastRate) {
  for (const Kind kind : {Kind::cosine, Kind::wsd})
    for (const Decay decay : {Decay::linear, Decay::one_minus_sqrt})
      for (const int64_t max_steps : {1, 2, 3, 20, 1000})
        for (const int64_t warmup : {0, 1, 10}) {
          if (warmup >= max_steps) continue;
          for (const double fraction : {1e-9, 0.05, 0.5, 1.0}) {
            const Schedule s{.kind = kind,
                             .decay = decay,
                             .peak = 1,
                             .ratio = 0.125,
                             .warmup_steps = warmup,
                             .max_steps = max_steps,
                             .decay_fraction = fraction};
            EXPECT_DOUBLE_EQ(learning_rate(s, max_steps - 1), 0.125) << max_steps << " " << warmup;
            EXPECT_DOUBLE_EQ(learning_rate(s, max_steps), 0.125);
          }
        }
}

TEST(ScheduleTest, OnlyTheLastStepLeavesTheCurve) {
  const Schedule cosine{.kind = Kind::cosine,
                        .peak = 1,
                        .ratio = 0,
                        .warmup_steps = 0,
                        .max_steps = 4};  // (1 + cos(pi i / 4)) / 2
  EXPECT_DOUBLE_EQ(learning_rate(cosine, 0), 1);
  EXPECT_NEAR(learning_rate(cosine, 1), 0.8535533905932737, 1e-15);
  EXPECT_NEAR(learning_rate(cosine, 2), 0.5, 1e-15);
  EXPECT_NEAR(learning_rate(cosine, 3), 0, 1e-15);
  const Schedule wsd{.kind = Kind::wsd, .peak = 1, .ratio = 0, .warmup_steps = 0, .max_steps = 20};
  EXPECT_DOUBLE_EQ(learning_rate(wsd, 16), 1);  // the first of four
  EXPECT_DOUBLE_EQ(learning_rate(wsd, 17), 0.75);
  EXPECT_DOUBLE_EQ(learning_rate(wsd, 18), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(wsd, 19), 0);
}

// A run that is all warm-up ends at the peak: there is no step to decay in.
TEST(ScheduleTest, NoStepForADecayIsNone) {
  for (const Kind kind : {Kind::cosine, Kind::wsd}) {
    const Schedule s{.kind = kind, .peak = 1, .warmup_steps = 10, .max_steps = 10, .decay_fraction = 0};
    EXPECT_DOUBLE_EQ(learning_rate(s, 9), 1);
  }
}

// No jumps: no step changes the rate by more than the steepest of its parts does.
TEST(ScheduleTest, IsContinuous) {
  for (const Kind kind : {Kind::cosine, Kind::wsd}) {
    const Schedule s{.kind = kind, .peak = 1, .ratio = 0.1, .warmup_steps = 200, .max_steps = 5000};
    for (int64_t step = 0; step < 5100; ++step) {
      EXPECT_LE(std::abs(learning_rate(s, step + 1) - learning_rate(s, step)), 1.0 / 200 + 1e-12) << step;
    }
  }
}

TEST(WeightDecay, FollowsTheRateOrACosine) {
  const Schedule schedule{
      .kind = Schedule::Kind::cosine, .peak = 0.5, .ratio = 0.1, .warmup_steps = 4, .max_steps = 100};
  for (const int64_t step : {0, 3, 50, 99, 200}) {
    EXPECT_EQ(weight_decay_scale(DecaySchedule::constant, schedule, step), 1);
    EXPECT_DOUBLE_EQ(weight_decay_scale(DecaySchedule::with_lr, schedule, step),
                     learning_rate(schedule, step) / 0.5);
  }
  EXPECT_EQ(weight_decay_scale(DecaySchedule::cosine_to_zero, schedule, 0), 1);
  EXPECT_DOUBLE_EQ(weight_decay_scale(DecaySchedule::cosine_to_zero, schedule, 50), 0.5);
  EXPECT_NEAR(weight_decay_scale(DecaySchedule::cosine_to_zero, schedule, 100), 0, 1e-15);
  EXPECT_NEAR(weight_decay_scale(DecaySchedule::cosine_to_zero, schedule, 150), 0, 1e-15);
}

}  // namespace
}  // namespace moe::optim
