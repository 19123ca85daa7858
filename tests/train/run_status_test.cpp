// SPDX-License-Identifier: MIT
// What the folder of a run says of it while it starts, goes on and ends.
#include "train/run_status.h"

#include <gmock/gmock.h>

#include <chrono>

#include "base/file.h"
#include "base/host.h"
#include "support/folder.h"

namespace moe::train {
namespace {

using Kind = RunStatus::Kind;

class RunStatuses : public ::testing::Test {
 protected:
  RunFolder folder() const {
    RunConfig config;
    config.training.output_dir = files_.path().string();
    config.training.run_name = "run";
    return RunFolder::create(config, "");
  }
  Kind kind() const { return read_run_status(run_).kind; }

  test::TestFolder files_;
  const std::filesystem::path run_ = files_.path() / "run";
};

TEST_F(RunStatuses, FromTheStartToTheEnd) {
  EXPECT_EQ(kind(), Kind::unknown) << "there is no folder yet";
  {
    const RunFolder owned = folder();
    EXPECT_EQ(kind(), Kind::starting);
    StatusFile file(owned, 1);
    EXPECT_EQ(kind(), Kind::running);
    file.finish(0);
    EXPECT_EQ(kind(), Kind::ended) << "the process still has its lock";
  }
  EXPECT_EQ(kind(), Kind::ended);
  {
    RunFolder owned = RunFolder::open(run_);
    Terminal terminal;
    owned.own(terminal);
    write_file_atomically(run_ / "run.lock", "process 1 on another machine\nboot\n");
    EXPECT_EQ(kind(), Kind::starting) << "what another process wrote is not said of this one";
    write_file_atomically(run_ / "run.lock", process_name() + "\nboot\n");
    StatusFile file(owned, 7);
    EXPECT_EQ(read_run_status(run_).first_step, 7);
    file.finish(128 + 15);
  }
  std::filesystem::remove(run_ / "run.lock");
  EXPECT_EQ(kind(), Kind::stopped);
  EXPECT_EQ(read_run_status(run_).why, "signal 15");
}

TEST_F(RunStatuses, AnErrorIsKept) {
  {
    const RunFolder owned = folder();
    StatusFile file(owned, 3);
    file.broke("step 9: expected a finite loss\xff");
    file.finish(1);
  }
  EXPECT_EQ(kind(), Kind::failed);
  EXPECT_THAT(read_run_status(run_).why, ::testing::StartsWith("step 9: expected a finite loss"));
  {
    const RunFolder owned = RunFolder::open(run_);
    const StatusFile file(owned, 3);  // goes without an end
  }
  EXPECT_EQ(kind(), Kind::failed);
  EXPECT_EQ(read_run_status(run_).why, "");
}

TEST_F(RunStatuses, AProcessThatIsGone) {
  const RunFolder owned = folder();
  const StatusFile file(owned, 1);
  EXPECT_EQ(kind(), Kind::running);
  const auto now = std::filesystem::last_write_time(run_ / "run.lock");
  std::filesystem::last_write_time(run_ / "run.lock", now - std::chrono::minutes(2));
  EXPECT_EQ(kind(), Kind::died);
}

TEST_F(RunStatuses, OtherFilesSayNothing) {
  std::filesystem::create_directories(run_);
  for (const char* text : {"", "{", "[]", R"({"state":7})", R"({"state":"flying"})"}) {
    write_file_atomically(run_ / "status.json", text);
    EXPECT_EQ(kind(), Kind::unknown) << text;
  }
  write_file_atomically(run_ / "status.json", R"({"state":"ended","first_step":"x"})");
  EXPECT_EQ(kind(), Kind::ended);
}

}  // namespace
}  // namespace moe::train
