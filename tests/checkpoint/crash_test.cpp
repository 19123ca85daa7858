// SPDX-License-Identifier: MIT
// Saves that are killed at random moments, and readers that look on while a run saves and deletes.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/file.h"
#include "base/random.h"
#include "checkpoint/checkpoint.h"
#include "support/fixture.h"

namespace moe {
namespace {

namespace fs = std::filesystem;

// A checkpoint whose every value is its step, so that a mixture of two would show.
class CrashTest : public ::testing::Test {
 protected:
  CrashTest() { fs::remove_all(folder_); }
  ~CrashTest() override { fs::remove_all(folder_); }

  // Saves one step twice, so that a new one and a replacement are both tried.
  void save(int64_t step, test::Machine& machine, Tensor weight, Tensor state) const {
    std::fill_n(weight.as<float>(), weight.numel(), static_cast<float>(step));
    std::fill_n(state.as<uint8_t>(), state.numel(), static_cast<uint8_t>(step));
    for (int repeat = 0; repeat < 2; ++repeat) {
      CheckpointStore(folder_, 2)
          .save(step, {{"model.safetensors", {{"w", weight}}}, {"optimizer.safetensors", {{"s", state}}}},
                std::to_string(step), machine.device());
    }
  }
  void save_from(int64_t first, int64_t count) const {
    test::Machine machine(1);
    const Tensor weight = machine.zeros(DType::f32, {100'000}), state = machine.zeros(DType::u8, {20'000});
    for (int64_t step = first; step < first + count; ++step) save(step, machine, weight, state);
  }

  static void expect_whole(const Checkpoint& checkpoint) {
    const int64_t step = checkpoint.step();
    EXPECT_EQ(checkpoint.state_json(), std::to_string(step));
    const auto weight = checkpoint.file("model.safetensors").values<float>("w");
    EXPECT_EQ(weight, std::vector<float>(100'000, static_cast<float>(step)));
    const auto state = checkpoint.file("optimizer.safetensors").values<uint8_t>("s");
    EXPECT_EQ(state, std::vector<uint8_t>(20'000, static_cast<uint8_t>(step)));
  }

  pid_t start_saving(int64_t first) const {
    const pid_t child = fork();
    if (child == 0) {
      try {
        save_from(first, 1'000'000);
      } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        _exit(3);
      }
    }
    return child;
  }
  static void kill_and_wait(pid_t child) {
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the saving process ended by itself";
  }

  const fs::path folder_ = fs::path(::testing::TempDir()) / ("crash-" + std::to_string(getpid()));
};

TEST_F(CrashTest, AKillAtAnyMomentLeavesAWholeCheckpoint) {
  const Random random(20, "kill");
  const CheckpointStore store(folder_, 2);
  const auto start = std::chrono::steady_clock::now();
  save_from(1, 1);
  const auto one_save = std::chrono::steady_clock::now() - start;
  const auto microseconds = std::chrono::duration_cast<std::chrono::microseconds>(one_save).count();
  int64_t last = 1, broken_saves = 0;
  const char* more = std::getenv("MOE_CRASHES");
  const int kills = more ? std::atoi(more) : 20;
  for (int i = 0; i < kills; ++i) {
    const pid_t child = start_saving(last + 1);
    // From before the first write to after the second save.
    usleep(static_cast<useconds_t>(
        random.below(static_cast<uint64_t>(i), 2 * static_cast<uint64_t>(microseconds))));
    kill_and_wait(child);
    for (const auto& entry : fs::directory_iterator(folder_))
      broken_saves += entry.path().extension() == ".partial";
    const auto latest = store.latest();
    ASSERT_TRUE(latest);
    EXPECT_GE(*latest, last);  // nothing once saved is lost
    for (const int64_t step : store.steps()) expect_whole(store.open(step));
    last = *latest;
  }
  EXPECT_GT(last, 1) << "no save was ever finished: the test tests nothing";
  EXPECT_GT(broken_saves, 0) << "no save was ever cut: the test tests nothing";
  std::printf("%d kills, %lld saves cut, %lld finished\n", kills, static_cast<long long>(broken_saves),
              static_cast<long long>(last));
}

TEST_F(CrashTest, AReaderSeesOnlyWholeCheckpoints) {
  const CheckpointStore store(folder_, 2);
  const pid_t child = start_saving(1);
  while (!store.latest()) usleep(1000);
  int64_t last = 0, seen = 0;
  // Slow disks save few checkpoints a second; a minute without any is an error.
  const auto start = std::chrono::steady_clock::now();
  while (seen < 8 && std::chrono::steady_clock::now() - start < std::chrono::minutes(1)) {
    const Checkpoint checkpoint = store.open_latest();
    expect_whole(checkpoint);
    EXPECT_GE(checkpoint.step(), last);
    seen += checkpoint.step() > last;
    last = checkpoint.step();
  }
  kill_and_wait(child);
  EXPECT_EQ(seen, 8) << "the writer made no progress meanwhile";
}

}  // namespace
}  // namespace moe
