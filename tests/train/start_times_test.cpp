// SPDX-License-Identifier: MIT
#include "train/start_times.h"

#include <gmock/gmock.h>

#include <chrono>
#include <thread>

#include "base/process_age.h"

namespace moe::train {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

void wait(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

TEST(StartTimes, PartsFollowOneAnother) {
  const double begin = steady_seconds();
  StartTimes times;
  wait(20);
  times.end("first");
  times.end("nothing");
  wait(40);
  times.end("second");
  const double all = steady_seconds() - begin;
  ASSERT_EQ(times.parts().size(), 3);
  EXPECT_EQ(times.parts()[0].first, "first");
  EXPECT_GE(times.parts()[0].second, 0.02);
  EXPECT_GE(times.parts()[2].second, 0.04);
  double sum = 0;
  for (const auto& [part, seconds] : times.parts()) sum += seconds;
  EXPECT_LE(sum, all);
  EXPECT_GE(sum, 0.06);
  EXPECT_THAT(times.describe(), AllOf(HasSubstr("first step after 0."), HasSubstr(": first 0."),
                                      HasSubstr(", second 0."), Not(HasSubstr("nothing"))));
}

TEST(StartTimes, OfTheProcessBeginWithItsLoading) {
  const StartTimes times = StartTimes::of_process();
  ASSERT_EQ(times.parts().size(), 1);
  EXPECT_EQ(times.parts()[0].first, "loading");
}

TEST(ProcessAge, GrowsByTheTimeThatPasses) {
  constexpr double kTick = 0.01;
  const auto before = process_age();
  ASSERT_TRUE(before);
  const double begin = steady_seconds();
  wait(50);
  const auto after = process_age();
  EXPECT_NEAR(*after - *before, steady_seconds() - begin, 0.5);  // the machine may be busy
  EXPECT_GE(*after - *before, 0.05 - kTick);
}

}  // namespace
}  // namespace moe::train
