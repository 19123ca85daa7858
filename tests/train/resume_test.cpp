// SPDX-License-Identifier: MIT
// What a resumed run is told about its settings.
#include "train/resume.h"

#include <gmock/gmock.h>

#include <functional>

namespace moe::train {
namespace {

class NoText : public data::Source {
 public:
  int64_t units() const override { return 0; }
  int64_t unit_bytes(int64_t) const override { return 0; }
  void read(int64_t, data::Documents&) const override {}
  std::string identity() const override { return "none"; }
};

// The line about the rate of a run that was saved at `step` and goes on with other settings.
std::string rate_line(int64_t step, const RunConfig& saved,
                      const std::function<void(TrainingConfig&)>& change) {
  RunConfig now = saved;
  change(now.training);
  return resume_point("state.json", state_json(step, {}, "", saved), NoText(), now).rate;
}

RunConfig run_of(optim::Schedule::Kind schedule) {
  RunConfig config;
  config.training.lr_schedule = schedule;
  config.training.learning_rate = 1e-3;
  config.training.warmup_steps = 10;
  config.training.max_steps = 100;
  return config;
}

TEST(Resume, ALongerScheduleWhoseRateJumpsIsSaidWithTheWayToKeepTheRate) {
  for (const auto schedule : {optim::Schedule::Kind::cosine, optim::Schedule::Kind::wsd})
    EXPECT_THAT(
        rate_line(100, run_of(schedule), [](TrainingConfig& t) { t.max_steps = 1000; }),
        ::testing::AllOf(::testing::HasSubstr("where the saved settings had 0.0001."),
                         ::testing::HasSubstr("training.lr_schedule=constant training.learning_rate=0.0001")))
        << name_of(schedule);
  const RunConfig cosine = run_of(optim::Schedule::Kind::cosine);
  EXPECT_THAT(rate_line(50, cosine, [](TrainingConfig& t) { t.max_steps = 200; }),
              ::testing::HasSubstr("rate="));
  EXPECT_THAT(rate_line(50, cosine, [](TrainingConfig& t) { t.learning_rate = 5e-4; }),
              ::testing::HasSubstr("rate="));
}

TEST(Resume, WhereTheRateGoesOnNothingIsSaid) {
  const RunConfig cosine = run_of(optim::Schedule::Kind::cosine);
  EXPECT_EQ(rate_line(50, cosine, [](TrainingConfig&) {}), "");
  EXPECT_EQ(rate_line(100, cosine, [](TrainingConfig&) {}), "");
  EXPECT_EQ(rate_line(0, cosine, [](TrainingConfig& t) { t.max_steps = 1000; }), "") << "an import";
  EXPECT_EQ(
      rate_line(100, run_of(optim::Schedule::Kind::constant), [](TrainingConfig& t) { t.max_steps = 1000; }),
      "");
  EXPECT_EQ(rate_line(50, run_of(optim::Schedule::Kind::wsd), [](TrainingConfig& t) { t.max_steps = 120; }),
            "")
      << "still flat";
  // The way that is proposed keeps the rate, and is silent.
  EXPECT_EQ(rate_line(100, cosine,
                      [](TrainingConfig& t) {
                        t.max_steps = 1000, t.lr_schedule = optim::Schedule::Kind::constant,
                        t.learning_rate = 1e-4;
                      }),
            "");
}

}  // namespace
}  // namespace moe::train
