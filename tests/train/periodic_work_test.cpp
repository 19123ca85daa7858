// SPDX-License-Identifier: MIT
#include "train/periodic_work.h"

#include <gmock/gmock.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace moe::train {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class PeriodicWorkTest : public ::testing::Test {
 protected:
  PeriodicWorkTest() {
    works_.add({.every = 5, .name = "validation", .mark = "validation_loss"});
    works_.add({.every = 10, .name = "tasks", .mark = "tasks/", .of_initial_weights = false});
    works_.add({.every = 0, .name = "sample", .mark = "sample", .of_initial_weights = false});
  }
  std::vector<std::string> done_at(int64_t step, bool at_end = false) {
    std::vector<std::string> names;
    works_.each_due(step, at_end, [&](const PeriodicWork& work) { names.emplace_back(work.name); });
    return names;
  }

  PeriodicWorks works_;
};

TEST_F(PeriodicWorkTest, IsDueAtItsSteps) {
  EXPECT_THAT(done_at(0), ElementsAre("validation"));
  EXPECT_THAT(done_at(4), IsEmpty());
  EXPECT_THAT(done_at(5), ElementsAre("validation"));
  EXPECT_THAT(done_at(10), ElementsAre("validation", "tasks"));
}

TEST_F(PeriodicWorkTest, AtTheEndAllIsDueThatWasNotMadeThere) {
  EXPECT_THAT(done_at(5), ElementsAre("validation"));
  EXPECT_THAT(done_at(5, true), ElementsAre("tasks", "sample"));
  EXPECT_THAT(done_at(5, true), IsEmpty());
  EXPECT_THAT(done_at(6, true), ElementsAre("validation", "tasks", "sample"));
}

TEST_F(PeriodicWorkTest, WhatTheRecordHasIsNotMadeAgain) {
  const std::vector<std::string> names = {"step", "tasks/piqa/accuracy"};
  works_.take_as_made(10, [&](const PeriodicWork& work) { return work.made_one_of(names); });
  EXPECT_THAT(done_at(10), ElementsAre("validation"));
  EXPECT_THAT(done_at(20), ElementsAre("validation", "tasks"));
}

TEST_F(PeriodicWorkTest, WhatThrowsIsStillOwed) {
  EXPECT_THROW(works_.each_due(5, false, [](const PeriodicWork&) { throw std::runtime_error("no"); }),
               std::runtime_error);
  EXPECT_THAT(done_at(5), ElementsAre("validation"));
}

}  // namespace
}  // namespace moe::train
