// SPDX-License-Identifier: MIT
// Ranks that die or hang, as processes: the others end with words that name the one, and the run goes on to
// the bits of one that was not disturbed. tools/check_kills.py does it by the thousand, also during saves.
#include <gmock/gmock.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "run/ranks_fixture.h"

namespace moe {
namespace {

using test::OverMpi;
using testing::ContainsRegex;
using testing::HasSubstr;

class Faults : public OverMpi {
 protected:
  train::RunConfig endless(const std::string& name) const {
    train::RunConfig config = config_of(name, 3);
    config.training.max_steps = 1'000'000;
    config.training.checkpoint_every = 1;
    config.training.keep_checkpoints = 2;
    config.training.threads = 1;
    return config;
  }
  // Trains on three ranks until there is a checkpoint, sends the signal to one of them and waits for the end.
  // The process.
  pid_t disturb(const train::RunConfig& config, int rank, int signal) {
    const std::string settings = (folder_ / (config.training.run_name + ".yaml")).string();
    write_file_atomically(settings, config.yaml());
    int code = 0;
    std::thread program([&] { code = mpirun(3, "train --config " + settings); });
    const checkpoint::CheckpointStore store(folder_ / config.training.run_name / "checkpoints", 0);
    for (int i = 0; i < 600 && !store.latest(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const pid_t process = process_of(rank, settings);
    EXPECT_GT(process, 0) << log();
    EXPECT_TRUE(process <= 0 || kill(process, signal) == 0);
    program.join();
    EXPECT_NE(code, 0);
    return process;
  }
};

TEST_F(Faults, ARankThatHangsIsNamed) {
  train::RunConfig config = endless("stopped");
  config.distributed.timeout_seconds = 5;
  const pid_t process = disturb(config, 1, SIGSTOP);
  EXPECT_THAT(log(), HasSubstr(fmt::format("no answer for 5 s from rank 1 of 3 (process {} on ", process)));
}

TEST_F(Faults, AfterARankThatIsKilledTheRunGoesOnToTheSameBits) {
  train::RunConfig config = endless("killed");
  disturb(config, 2, SIGKILL);
  EXPECT_THAT(log(), ContainsRegex("rank 2 .*signal 9"));
  const train::RunFolder killed = train::RunFolder::open(folder_ / "killed");
  const int64_t last = checkpoint::CheckpointStore(killed.checkpoints(), 0).latest().value_or(0) + 3;
  config.training.max_steps = last;
  EXPECT_THAT(run(3, config, killed, true), testing::Each("finished"));
  config.training.run_name = "straight";
  const train::RunFolder straight = finished(3, config);
  EXPECT_EQ(weights(straight, last), weights(killed, last));
  EXPECT_EQ(states(straight, last), states(killed, last));
  EXPECT_EQ(column(straight, "loss"), column(killed, "loss"));
}

}  // namespace
}  // namespace moe
