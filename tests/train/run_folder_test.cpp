// SPDX-License-Identifier: MIT
// The folder of a run: its own name and owner whatever others do at the same time, and found again when it
// was moved.
#include "train/run_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "support/errors.h"
#include "support/streams.h"
#include "text/texts.h"

namespace moe::train {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class RunFolders : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    config_.training.output_dir = folder_.string();
  }
  void TearDown() override { fs::remove_all(folder_); }
  // How many of several threads at once made a folder.
  std::multiset<std::string> create_at_once(int threads) {
    std::vector<std::string> names(static_cast<size_t>(threads));
    std::vector<std::thread> all;
    for (std::string& name : names)
      all.emplace_back([&] {
        test::user_error_of([&] { name = RunFolder::create(config_, "stem").path().filename().string(); });
      });
    for (std::thread& thread : all) thread.join();
    return {names.begin(), names.end()};
  }

  const fs::path folder_ = fs::path(::testing::TempDir()) / ("moe_folder_" + std::to_string(getpid()));
  RunConfig config_;
  test::LogFile log_;
  Terminal terminal_{log_.stream()};
};

TEST_F(RunFolders, UnnamedRunsOfOneSecondGetNumbers) {
  const auto names = create_at_once(8);
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), 8U);
  EXPECT_EQ(names.count(""), 0U);
  for (const std::string& name : names) EXPECT_TRUE(fs::exists(folder_ / name / "config.yaml")) << name;
}

TEST_F(RunFolders, ANameIsTakenOnce) {
  config_.training.run_name = "mine";
  const auto names = create_at_once(8);
  EXPECT_EQ(names.count("mine"), 1U);
  EXPECT_EQ(names.count(""), 7U);
  EXPECT_TRUE(fs::exists(folder_ / "mine/config.yaml"));
}

TEST_F(RunFolders, OneOwnsAndAllRead) {
  config_.training.run_name = "mine";
  const RunFolder owner = RunFolder::create(config_, "");
  RunFolder reader = RunFolder::open(folder_ / "mine");
  EXPECT_EQ(RunConfig::load(reader.config()).training.run_name, "mine");
  EXPECT_THAT(test::user_error_of([&] { reader.own(terminal_); }), HasSubstr("trains it"));
  reader.discard();  // not its own
  EXPECT_TRUE(fs::exists(owner.config()));
}

// `latest` points to another run later; what was opened by that name stays where it is.
TEST_F(RunFolders, ALinkIsFollowedOnce) {
  config_.training.run_name = "first";
  const RunFolder first = RunFolder::create(config_, "");
  first.become_latest();
  const RunFolder opened = RunFolder::open(folder_ / "latest/");
  config_.training.run_name = "second";
  RunFolder::create(config_, "").become_latest();
  EXPECT_TRUE(fs::equivalent(opened.path(), first.path()));
  EXPECT_EQ(RunFolder::open(folder_).path().filename(), "second");
}

TEST_F(RunFolders, AMovedFolderIsFollowedAndADeletedOneMadeAnew) {
  config_.training.run_name = "mine";
  RunFolder folder = RunFolder::create(config_, "");
  EXPECT_EQ(folder.find_again(config_), "");
  fs::rename(folder_ / "mine", folder_ / "other");
  EXPECT_THAT(folder.find_again(config_), HasSubstr("was moved; the run goes on in"));
  EXPECT_TRUE(fs::equivalent(folder.path(), folder_ / "other"));
  EXPECT_EQ(folder.find_again(config_), "");

  fs::remove_all(folder_ / "other");
  EXPECT_THAT(folder.find_again(config_), HasSubstr("was deleted; it is made anew"));
  EXPECT_TRUE(fs::exists(folder_ / "other/config.yaml"));
  EXPECT_TRUE(fs::exists(folder_ / "other/run.lock"));

  fs::remove_all(folder_ / "other");
  fs::create_directories(folder_ / "other/of somebody else");
  EXPECT_THAT(folder.find_again(config_), HasSubstr("another folder is there now"));
  EXPECT_TRUE(fs::exists(folder_ / "other-2/config.yaml"));
  EXPECT_FALSE(fs::exists(folder_ / "other/config.yaml"));

  fs::remove(folder_ / "other-2/run.lock");
  EXPECT_THAT(folder.find_again(config_), HasSubstr("locked anew"));
  EXPECT_TRUE(fs::exists(folder_ / "other-2/run.lock"));
}

// The copy comes out of memory: by then the original is gone.
TEST_F(RunFolders, ADeletedOneIsMadeAnewWithItsTokenizer) {
  const fs::path original = folder_ / "original/tokenizer.json";
  fs::create_directories(original.parent_path());
  fs::copy(test::golden_text_path("old.json"), original);
  config_.training.run_name = "mine";
  config_.data.tokenizer.name = original.string();
  RunFolder folder = RunFolder::create(config_, "");
  EXPECT_EQ(RunConfig::load_run(folder.config()).vocabulary(), 709);
  fs::remove_all(original.parent_path());
  fs::remove_all(folder.path());
  EXPECT_THAT(folder.find_again(config_), HasSubstr("was deleted; it is made anew"));
  EXPECT_EQ(read_file(folder.path() / "tokenizer/tokenizer.json"), test::golden_text("old.json"));
  EXPECT_EQ(RunConfig::load_run(folder.config()).vocabulary(), 709);
}

// A start that was killed before its settings were written leaves its lock and perhaps the tokenizer. A
// folder of that name without the lock is somebody else's.
TEST_F(RunFolders, AKilledStartIsNoHindrance) {
  config_.training.run_name = "mine";
  config_.data.tokenizer.name = test::golden_text_path("old.json").string();
  fs::create_directories(folder_ / "mine/tokenizer.tmp-1");
  fs::create_directories(folder_ / "mine/tokenizer");
  write_file_atomically(folder_ / "mine/tokenizer/tokenizer.json", "half");
  write_file_atomically(folder_ / "mine/tokenizer.tmp-1/tokenizer.json", "hal");
  EXPECT_THAT(test::user_error_of([&] { RunFolder::create(config_, ""); }),
              HasSubstr("a new or empty folder, found something else"));
  EXPECT_EQ(read_file(folder_ / "mine/tokenizer/tokenizer.json"), "half");
  write_file_atomically(folder_ / "mine/run.lock", "");
  const RunFolder folder = RunFolder::create(config_, "");
  EXPECT_EQ(read_file(folder.path() / "tokenizer/tokenizer.json"), test::golden_text("old.json"));
}

}  // namespace
}  // namespace moe::train
