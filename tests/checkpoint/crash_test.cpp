// SPDX-License-Identifier: MIT
// Saves that are killed at random moments, and readers that look on while a run saves and deletes.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <string>

#include "base/file.h"
#include "base/random.h"
#include "checkpoint/checkpoint.h"
#include "support/fixture.h"

namespace moe::checkpoint {
namespace {

namespace fs = std::filesystem;

// Every value of a checkpoint is the number of its save, so that a mixture of two would show. Each step is
// saved twice: once new and once as a replacement.
class CrashTest : public ::testing::Test {
 protected:
  CrashTest() {
    fs::remove_all(folder_);
    void* memory = mmap(nullptr, sizeof(*saved_), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED) saved_ = new (memory) std::atomic<int64_t>(0);
  }
  void TearDown() override {
    if (saved_) munmap(saved_, sizeof(*saved_));
    fs::remove_all(folder_);
  }

  void save_from(int64_t first_save, int64_t count) const {
    test::Machine machine(1);
    Tensor weight = machine.zeros(DType::f32, {100'000}), state = machine.zeros(DType::u8, {20'000});
    for (int64_t save = first_save; save < first_save + count; ++save) {
      std::fill_n(weight.as<float>(), weight.numel(), static_cast<float>(save));
      std::fill_n(state.as<uint8_t>(), state.numel(), static_cast<uint8_t>(save));
      CheckpointStore(folder_, 2)
          .save(save / 2, {{"model.safetensors", {{"w", weight}}}, {"optimizer.safetensors", {{"s", state}}}},
                std::to_string(save), machine.device());
      *saved_ = save;
    }
  }

  // The number of the save.
  static int64_t expect_whole(const Checkpoint& checkpoint) {
    const int64_t save = std::stoll(checkpoint.state_json());
    EXPECT_EQ(checkpoint.step(), save / 2);
    const auto weight = checkpoint.file("model.safetensors").values<float>("w");
    EXPECT_EQ(weight, std::vector<float>(100'000, static_cast<float>(save)));
    const auto state = checkpoint.file("optimizer.safetensors").values<uint8_t>("s");
    EXPECT_EQ(state, std::vector<uint8_t>(20'000, static_cast<uint8_t>(save)));
    return save;
  }

  pid_t start_saving(int64_t first_save) const {
    const pid_t child = fork();
    if (child == 0) {
      try {
        save_from(first_save, 1'000'000);
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
  std::atomic<int64_t>* saved_ = nullptr;  // the last save that returned, in whichever process
};

TEST_F(CrashTest, AKillAtAnyMomentLeavesTheLastSave) {
  ASSERT_TRUE(saved_);
  const Random random(20, "kill");
  const CheckpointStore store(folder_, 2);
  const auto start = std::chrono::steady_clock::now();
  save_from(2, 2);
  const auto two_saves = std::chrono::steady_clock::now() - start;
  const auto microseconds = std::chrono::duration_cast<std::chrono::microseconds>(two_saves).count();
  int64_t first = 0, last = 3, cut = 0;
  const char* more = std::getenv("MOE_CRASHES");
  const int kills = more ? std::atoi(more) : 20;
  // On a machine that became busy after the measurement no save may have finished by then: more, and later,
  // kills.
  for (int i = 0; i < kills || (last == first && i < 20 * kills); ++i) {
    const pid_t child = start_saving(last + 1);
    // From before the first write to after the second save.
    const int64_t longest = 2 * microseconds * (1 + i / kills);
    usleep(static_cast<useconds_t>(random.below(static_cast<uint64_t>(i), static_cast<uint64_t>(longest))));
    kill_and_wait(child);
    for (const auto& entry : fs::directory_iterator(folder_)) cut += entry.path().extension() == ".partial";
    const Checkpoint latest = store.open_latest();
    last = expect_whole(latest);
    ASSERT_GE(last, *saved_);      // what save() has once returned from is not lost
    ASSERT_LE(last, *saved_ + 1);  // and nothing comes from nowhere
    *saved_ = last;                // the next process goes on from what was found
    for (const int64_t step : store.steps()) expect_whole(store.open(step));
    first = first == 0 ? last : first;
  }
  EXPECT_GT(last, first) << "no save was ever finished: the test tests nothing";
  EXPECT_GT(cut, 0) << "no save was ever cut: the test tests nothing";
  std::printf("%d kills, %lld saves cut, %lld finished\n", kills, static_cast<long long>(cut),
              static_cast<long long>(last));
}

TEST_F(CrashTest, AReaderSeesOnlyWholeCheckpoints) {
  const CheckpointStore store(folder_, 2);
  const pid_t child = start_saving(2);
  while (!store.latest()) usleep(1000);
  int64_t last = 0, seen = 0;
  // Slow disks save few checkpoints a second; a minute without any is an error.
  const auto start = std::chrono::steady_clock::now();
  while (seen < 8 && std::chrono::steady_clock::now() - start < std::chrono::minutes(1)) {
    const int64_t save = expect_whole(store.open_latest());
    EXPECT_GE(save, last);
    seen += save > last;
    last = save;
  }
  kill_and_wait(child);
  EXPECT_EQ(seen, 8) << "the writer made no progress meanwhile";
}

}  // namespace
}  // namespace moe::checkpoint
