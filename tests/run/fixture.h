// SPDX-License-Identifier: MIT
// What tests of whole runs share: a folder with a little text, settings of a small model, a training run in
// this process (on one rank, or on several as threads) or as the program, and the files of its checkpoints.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/file.h"
#include "base/random.h"
#include "comm/solo.h"
#include "support/configs.h"
#include "train/trainer.h"

namespace moe::test {

namespace fs = std::filesystem;

inline constexpr const char* kWords[] = {"stone", "river", "lamp", "green", "walks",
                                         "of",    "the",   "and",  "to",    "old"};

// JSON lines of few tokens and many bytes: windows of 1 MiB (data.shuffle_window_mb) that some steps read.
inline std::string lines_in_windows() {
  std::string lines;
  for (int i = 0; i < 150; ++i)
    lines += "{\"text\": \"the old lamp walks to the river of stone and green\", \"other\": \"" +
             std::string(20'000, 'x') + "\"}\n";
  return lines;
}

// A little text with structure: 3000 one-line documents.
inline std::string corpus() {
  const Random random(7, "corpus");
  std::string text;
  for (uint64_t line = 0; line < 3000; ++line) {
    for (uint64_t word = 0; word < 8; ++word)
      text += std::string(kWords[random.below(8 * line + word, 10)]) + " ";
    text += "\n";
  }
  return text;
}

class Run : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::path(::testing::TempDir()) / ("moe_run_" + std::to_string(getpid()) + "_" +
                                          ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    write_file_atomically(folder_ / "corpus.txt", corpus());
  }
  void TearDown() override { fs::remove_all(folder_); }

  train::RunConfig config(const std::string& name) const {
    train::RunConfig config;
    config.model = tiny_config({.expert_intermediate_dim = 32,
                                .capacity_factor = 1,
                                .vocab_size = 50304,
                                .max_seq_len = 48,
                                .init_std = 0.02});
    config.training.batch_size = 3;
    config.training.gradient_accumulation_steps = 2;
    config.training.max_steps = 10;
    config.training.learning_rate = 3e-3;
    config.training.warmup_steps = 2;
    config.training.checkpoint_every = 5;
    config.training.keep_checkpoints = 100;
    config.training.eval_every = 5;
    config.training.eval_batches = 2;
    config.training.device = DeviceKind::cpu;
    config.training.output_dir = folder_.string();
    config.training.run_name = name;
    config.data.source = {(folder_ / "corpus.txt").string()};
    config.data.document_split = data::DocumentSplit::line;
    config.data.cache_dir = (folder_ / "cache").string();
    config.validate();
    return config;
  }

  // Trains in this process, quietly. after_first_step: Trainer::when_accepted.
  static train::Outcome train(const train::RunConfig& config, const train::RunFolder& folder, bool resume,
                              const std::atomic<int>& stop = kNever,
                              const std::function<void()>& after_first_step = {}) {
    comm::SoloCommunicator alone;
    return train_rank(alone, 2, config, folder, resume, stop, after_first_step);
  }
  // The same as one of several ranks.
  static train::Outcome train_rank(comm::Communicator& ranks, int threads, const train::RunConfig& config,
                                   const train::RunFolder& folder, bool resume,
                                   const std::atomic<int>& stop = kNever,
                                   const std::function<void()>& after_first_step = {}) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> quiet(std::fopen("/dev/null", "w"), std::fclose);
    Terminal terminal(quiet.get());
    const backend::Backend backend =
        backend::make_backend(DeviceKind::cpu, threads, train::arithmetic(config.training));
    std::unique_ptr<train::Trainer> trainer;
    comm::propagate_errors(ranks, [&] {
      trainer = std::make_unique<train::Trainer>(config, folder, resume, *backend.device, *backend.ops, ranks,
                                                 stop, terminal);
    });
    if (after_first_step) trainer->when_accepted(after_first_step);
    return trainer->run();
  }

  // `moe` with these arguments, quietly.
  static pid_t start_program(std::vector<std::string> arguments) {
    std::vector<char*> words{const_cast<char*>(MOE_PROGRAM)};
    for (std::string& argument : arguments) words.push_back(argument.data());
    words.push_back(nullptr);
    posix_spawn_file_actions_t quiet;
    posix_spawn_file_actions_init(&quiet);
    for (const int stream : {STDOUT_FILENO, STDERR_FILENO})
      posix_spawn_file_actions_addopen(&quiet, stream, "/dev/null", O_WRONLY, 0);
    pid_t child = -1;
    EXPECT_EQ(posix_spawn(&child, MOE_PROGRAM, &quiet, nullptr, words.data(), environ), 0);
    posix_spawn_file_actions_destroy(&quiet);
    return child;
  }

  static std::string weights(const train::RunFolder& folder, int64_t step) {
    return file(folder, step, "model.safetensors");
  }
  static std::string states(const train::RunFolder& folder, int64_t step) {
    return file(folder, step, "optimizer.safetensors");
  }
  static std::string file(const train::RunFolder& folder, int64_t step, const std::string& name) {
    return read_file(checkpoint::CheckpointStore(folder.checkpoints(), 0).folder_of(step) / name);
  }

  static inline const std::atomic<int> kNever{0};
  fs::path folder_;
};

}  // namespace moe::test
