// SPDX-License-Identifier: MIT
// Who owns a run: one process, as the kernel's lock says, or as signs of life say where that lock proves
// nothing.
#include "train/run_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/host.h"
#include "support/errors.h"

namespace moe::train {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class RunLocks : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void put_owner(const std::string& boot) {
    write_file_atomically(file_, "process 7 on far\n" + boot + "\n");
  }
  static std::string this_boot() {
    std::string id;
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    std::getline(file, id);
    return id;
  }

  const fs::path folder_ = fs::path(::testing::TempDir()) / ("moe_lock_" + std::to_string(getpid()));
  const fs::path file_ = folder_ / "run.lock";
  std::vector<std::string> said_;
  const RunLock::Say say_ = [this](const std::string& text) { said_.push_back(text); };
};

TEST_F(RunLocks, OneHasItAndTheOtherIsToldWho) {
  {
    const RunLock one(folder_, say_);
    const std::string complaint = test::user_error_of([&] { RunLock(folder_, say_); });
    EXPECT_THAT(complaint, HasSubstr(process_name() + ", which trains it"));
    EXPECT_FALSE(one.lost());
    EXPECT_TRUE(one.in_place());
  }
  EXPECT_FALSE(fs::exists(file_));  // given back
  const RunLock other(folder_, say_);
  EXPECT_THAT(said_, IsEmpty());
}

// The kernel's lock ends with the process: nothing to wait for.
TEST_F(RunLocks, ADeadProcessOfThisMachineHoldsNobodyOff) {
  if (this_boot().empty()) GTEST_SKIP() << "this kernel has no boot_id";
  put_owner(this_boot());
  const RunLock lock(folder_, say_, {.beat = 1h, .silence = 1h});
  EXPECT_THAT(said_, IsEmpty());
  EXPECT_THAT(read_file(file_), HasSubstr(process_name()));
}

TEST_F(RunLocks, ASilentOwnerOnAnotherMachineIsGone) {
  put_owner("another kernel");
  const RunLock lock(folder_, say_, {.beat = 1ms, .silence = 0ms});
  ASSERT_EQ(said_.size(), 2U);
  EXPECT_THAT(said_[0], HasSubstr("process 7 on far had it"));
  EXPECT_THAT(read_file(file_), HasSubstr(process_name()));
}

TEST_F(RunLocks, AnOwnerOnAnotherMachineThatLivesIsNotDisturbed) {
  put_owner("another kernel");
  const std::string before = read_file(file_);
  std::atomic<bool> ending{false};
  std::thread owner([&] {
    for (int beat = 1; !ending; ++beat) {
      fs::last_write_time(file_, fs::file_time_type::clock::now() + beat * 1s);
      std::this_thread::sleep_for(1ms);
    }
  });
  const std::string complaint =
      test::user_error_of([&] { RunLock(folder_, say_, {.beat = 1ms, .silence = 1h}); });
  ending = true;
  owner.join();
  EXPECT_THAT(complaint, HasSubstr("process 7 on far, which trains it"));
  EXPECT_EQ(read_file(file_), before);
}

// As when this process was stopped for longer than the silence.
TEST_F(RunLocks, AnOwnerNoticesThatAnotherMachineTookTheRun) {
  const RunLock lock(folder_, say_, {.beat = 1ms, .silence = 1h});
  std::ofstream(file_, std::ios::in | std::ios::out) << "process 7 on far\nanother kernel\n";
  while (!lock.lost()) std::this_thread::sleep_for(1ms);  // for ever, if it does not
  EXPECT_THAT(read_file(file_), HasSubstr("process 7 on far"));
}

TEST_F(RunLocks, TheFolderIsFoundAgain) {
  const RunLock lock(folder_, say_);
  EXPECT_EQ(lock.folder(), folder_);
  const fs::path other = folder_.string() + "_moved";
  fs::rename(folder_, other);
  ASSERT_TRUE(lock.folder().has_value());
  EXPECT_TRUE(fs::equivalent(*lock.folder(), other));
  EXPECT_TRUE(lock.in_place());
  fs::remove(other / "run.lock");
  EXPECT_TRUE(lock.folder().has_value());
  EXPECT_FALSE(lock.in_place());
  fs::remove_all(other);
  EXPECT_FALSE(lock.folder().has_value());
}

}  // namespace
}  // namespace moe::train
