// SPDX-License-Identifier: MIT
// How a run of the program begins and ends: by any signal with its state saved, beside a second process,
// after a start that failed, from another folder.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include "run/fixture.h"

namespace moe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

class Lifecycle : public test::Run {
 protected:
  // A shell command in the test's folder, with no signal ignored; `moe` is the program.
  pid_t start(const std::string& command) const {
    const std::string whole =
        "cd '" + folder_.string() + "' && moe() { exec '" MOE_PROGRAM "' \"$@\"; }; " + command;
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t all;
    sigfillset(&all);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    const char* words[] = {"sh", "-c", whole.c_str(), nullptr};
    pid_t child = -1;
    EXPECT_EQ(posix_spawn(&child, "/bin/sh", nullptr, &attributes, const_cast<char**>(words), environ), 0);
    posix_spawnattr_destroy(&attributes);
    return child;
  }
  static int code_of(pid_t child) {
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  int run(const std::string& command) const { return code_of(start(command)); }
  std::string log(const std::string& name = "log") const { return read_file(folder_ / name); }

  train::RunConfig endless(const std::string& name) const {
    train::RunConfig config = Run::config(name);
    config.training.max_steps = 1'000'000;
    config.training.checkpoint_every = 0;
    config.training.eval_every = 0;
    config.training.threads = 1;
    return config;
  }
  void put(const train::RunConfig& config) const {
    write_file_atomically(folder_ / (config.training.run_name + ".yaml"), config.yaml());
  }
  int64_t rows(const std::string& name) const {
    std::ifstream file(folder_ / name / "metrics.jsonl");
    int64_t count = 0;
    for (std::string line; std::getline(file, line);) count += line.find("\"loss\"") != std::string::npos;
    return count;
  }
  void wait_for_rows(const std::string& name, int64_t count) const {
    for (int i = 0; i < 6000 && rows(name) < count; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    ASSERT_GE(rows(name), count);
  }
  void expect_saved_whole(const std::string& name) const {
    const checkpoint::CheckpointStore store(folder_ / name / "checkpoints", 0);
    ASSERT_TRUE(store.latest().has_value()) << name;
    EXPECT_EQ(*store.latest(), rows(name)) << name;
    EXPECT_FALSE(fs::exists(folder_ / name / "run.lock")) << name;
  }
};

TEST_F(Lifecycle, EverySignalThatEndsARunSavesIt) {
  const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU};
  std::vector<pid_t> children;
  for (const int signal : signals) {
    const std::string name = "by" + std::to_string(signal);
    put(endless(name));
    children.push_back(start(fmt::format("moe train --config {0}.yaml 2>{0}.log", name)));
  }
  for (size_t i = 0; i < children.size(); ++i) {
    const std::string name = "by" + std::to_string(signals[i]);
    wait_for_rows(name, 1);
    kill(children[i], signals[i]);
    EXPECT_EQ(code_of(children[i]), 128 + signals[i]) << log(name + ".log");
    EXPECT_THAT(log(name + ".log"), HasSubstr("stopped by signal " + std::to_string(signals[i])));
    expect_saved_whole(name);
  }
}

// As with nohup, which says what a dropped connection may do.
TEST_F(Lifecycle, WhatWasIgnoredAtTheStartStaysIgnored) {
  put(endless("kept"));
  const pid_t child = start("trap '' HUP USR1; moe train --config kept.yaml 2>log");
  wait_for_rows("kept", 1);
  kill(child, SIGHUP);
  kill(child, SIGUSR1);
  wait_for_rows("kept", rows("kept") + 5);  // a signal is served within one step
  kill(child, SIGTERM);
  EXPECT_EQ(code_of(child), 128 + SIGTERM) << log();
}

TEST_F(Lifecycle, AReaderThatGoesAwayEndsNothing) {
  train::RunConfig config = endless("deaf");
  config.training.max_steps = 5;
  put(config);
  // `true` ends at once; the status is that of moe.
  EXPECT_EQ(
      run("{ ( sleep 0.2; moe train --config deaf.yaml ) 2>&1; echo $? >code; } | true; while [ ! -s code ]; "
          "do sleep 0.1; done; exit $(cat code)"),
      0);
  expect_saved_whole("deaf");
}

TEST_F(Lifecycle, ASecondProcessIsToldWhoTrains) {
  put(endless("run"));
  const pid_t owner = start("moe train --config run.yaml 2>owner");
  wait_for_rows("run", 3);
  EXPECT_EQ(run("moe train --resume run training.max_steps=2000000 2>log"), 1);
  EXPECT_THAT(log(), HasSubstr("process " + std::to_string(owner) + " on "));
  EXPECT_THAT(log(), HasSubstr("trains it"));
  EXPECT_EQ(train::RunConfig::load(folder_ / "run/config.yaml").training.max_steps, 1'000'000);
  EXPECT_EQ(run("moe report run 2>log"), 0) << log();  // readers are not held off
  wait_for_rows("run", rows("run") + 3);
  kill(owner, SIGKILL);
  EXPECT_EQ(code_of(owner), -SIGKILL);
  EXPECT_TRUE(fs::exists(folder_ / "run/run.lock"));  // a dead owner's holds nobody off
  EXPECT_EQ(run("moe train --resume run training.max_steps=4 2>log"), 0) << log();
  EXPECT_EQ(rows("run"), 4);
  expect_saved_whole("run");
}

TEST_F(Lifecycle, ARunThatNeverTrainedIsNoRun) {
  train::RunConfig good = Run::config("good");
  good.training.output_dir = (folder_ / "runs").string();
  good.training.max_steps = 2;
  put(good);
  EXPECT_EQ(run("moe train --config good.yaml 2>log"), 0) << log();
  EXPECT_EQ(fs::read_symlink(folder_ / "runs/latest"), "good");

  write_file_atomically(folder_ / "notes.jsonl", "{\"body\": \"no text here\"}\n{\"body\": \"nor here\"}\n");
  train::RunConfig bad = good;
  bad.training.run_name = "bad";
  bad.data.source = {(folder_ / "notes.jsonl").string()};
  put(bad);
  EXPECT_EQ(run("moe train --config bad.yaml 2>log"), 1);
  EXPECT_FALSE(fs::exists(folder_ / "runs/bad")) << log();
  EXPECT_EQ(fs::read_symlink(folder_ / "runs/latest"), "good");
}

TEST_F(Lifecycle, SettingsThatARunDoesNotTakeAreNotRecorded) {
  train::RunConfig config = Run::config("run");
  config.training.max_steps = 4;
  put(config);
  EXPECT_EQ(run("moe train --config run.yaml 2>log"), 0) << log();
  const std::string before = read_file(folder_ / "run/config.yaml");
  EXPECT_EQ(run("moe train --resume run training.max_steps=3 2>log"), 1);
  EXPECT_THAT(log(), HasSubstr("training.max_steps: expected at least 4, the steps that are done, found 3"));
  EXPECT_EQ(read_file(folder_ / "run/config.yaml"), before);
  EXPECT_EQ(run("moe train --resume run training.max_steps=6 training.seed=99 2>log"), 1);
  EXPECT_EQ(read_file(folder_ / "run/config.yaml"), before);
  EXPECT_EQ(run("moe train --resume run training.max_steps=5 2>log"), 0) << log();
  EXPECT_EQ(train::RunConfig::load(folder_ / "run/config.yaml").training.max_steps, 5);
}

TEST_F(Lifecycle, ARunGoesOnFromAnyFolder) {
  fs::create_directories(folder_ / "texts[1]");
  fs::rename(folder_ / "corpus.txt", folder_ / "texts[1]/corpus.txt");
  train::RunConfig config = Run::config("run");
  config.training.max_steps = 2;
  config.training.output_dir = "../runs";
  config.data.source = {"./cor*.txt"};
  config.data.cache_dir = "cache";
  put(config);
  EXPECT_EQ(run("cd 'texts[1]' && moe train --config ../run.yaml 2>../log"), 0) << log();
  EXPECT_EQ(run("cd / && moe train --resume '" + (folder_ / "runs/run").string() +
                "' training.max_steps=3 2>'" + (folder_ / "log").string() + "'"),
            0)
      << log();
  EXPECT_THAT(log(), Not(HasSubstr("data.source")));  // the same place

  EXPECT_EQ(run("moe train --config run.yaml training.output_dir=runs training.run_name=other "
                "data.source=nothing.txt 2>log"),
            1);
  EXPECT_THAT(log(), HasSubstr((folder_ / "nothing.txt").string()));
}

// Killed before its first save, or the checkpoints are gone: it begins anew, and not in silence.
TEST_F(Lifecycle, ARunWithoutCheckpointsSaysThatItBeginsAtItsStart) {
  train::RunConfig config = Run::config("run");
  config.training.max_steps = 2;
  put(config);
  ASSERT_EQ(run("moe train --config run.yaml 2>log"), 0) << log();
  const fs::path run_folder = fs::path(config.training.output_dir) / "run";
  fs::remove_all(run_folder / "checkpoints");
  EXPECT_EQ(run("moe train --resume '" + run_folder.string() + "' 2>log"), 0) << log();
  EXPECT_THAT(log(), HasSubstr("there is no checkpoint to resume from"));
}

}  // namespace
}  // namespace moe
