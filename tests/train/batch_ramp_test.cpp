// SPDX-License-Identifier: MIT
// How many micro-batches a step has on the way, and where it stands in the schedules.
#include "train/batch_ramp.h"

#include <gmock/gmock.h>

#include "support/errors.h"

namespace moe::train {
namespace {

using test::user_error_of;

TEST(BatchRamp, WithoutStagesIsConstant) {
  const BatchRamp ramp({}, 4);
  EXPECT_TRUE(ramp.constant());
  EXPECT_EQ(ramp.micro_batches(0), 4);
  EXPECT_EQ(ramp.steps(0, 1000, 10), 25);
  EXPECT_EQ(ramp.steps(10, 1000, 10), 25);  // the last one is whole
  EXPECT_EQ(ramp.steps(1000, 1000, 10), 0);
  EXPECT_EQ(ramp.place(7, 123456, 10), 7);
  EXPECT_EQ(ramp.rate_scale(5), 1);
}

TEST(BatchRamp, CountsTheStepsThatItMakes) {
  const BatchRamp ramp({"1:30", "2:95"}, 8);
  EXPECT_FALSE(ramp.constant());
  EXPECT_EQ(ramp.least(), 1);
  EXPECT_EQ(ramp.full(), 8);
  for (const int64_t end : {5, 30, 31, 95, 110, 400, 401})
    for (const int64_t start : {0, 10, 50, 200}) {
      int64_t steps = 0;
      for (int64_t tokens = start; tokens < end; tokens += 10 * ramp.micro_batches(tokens)) ++steps;
      EXPECT_EQ(ramp.steps(start, end, 10), steps) << start << " " << end;
    }
  EXPECT_EQ(ramp.micro_batches(29), 1);
  EXPECT_EQ(ramp.micro_batches(30), 2);
  EXPECT_EQ(ramp.micro_batches(95), 8);
}

// Four steps of a quarter are one of the schedule, each with half the rate.
TEST(BatchRamp, SchedulesGoByTokens) {
  const BatchRamp ramp({"2:160"}, 8);
  EXPECT_EQ(ramp.place(0, 0, 10), 0);
  EXPECT_EQ(ramp.place(3, 60, 10), 0);
  EXPECT_EQ(ramp.place(4, 80, 10), 1);
  EXPECT_EQ(ramp.place(8, 160, 10), 2);
  EXPECT_EQ(ramp.rate_scale(0), 0.5);
  EXPECT_EQ(ramp.rate_scale(160), 1);
}

TEST(BatchRamp, RefusesWhatDoesNotRise) {
  const auto error = [](const std::vector<std::string>& stages) {
    return user_error_of([&] { BatchRamp(stages, 8); });
  };
  for (const char* wrong : {"", "4", "4:", ":5", "0:5", "4:0", "4:5x", "-1:5", "4:5:6"})
    EXPECT_THAT(error({wrong}), ::testing::StartsWith("training.batch_ramp: expected MICRO_BATCHES:TOKENS"))
        << wrong;
  EXPECT_THAT(error({"4:100", "2:200"}), ::testing::HasSubstr("found 4:100 and then 2:200"));
  EXPECT_THAT(error({"2:200", "4:200"}), ::testing::HasSubstr("found 2:200 and then 4:200"));
  EXPECT_THAT(error({"8:100"}), ::testing::HasSubstr("fewer than training.gradient_accumulation_steps (8)"));
}

}  // namespace
}  // namespace moe::train
