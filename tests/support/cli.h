// SPDX-License-Identifier: MIT
// A test of the program itself, in a folder of its own: MOE_PROGRAM is the path of the built program.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <string>

#include "base/file.h"

namespace moe {

// How a command ended: its exit code, 128 + n for a signal n, and what it printed.
struct CommandResult {
  int code = -1;
  std::string output;
};

inline constexpr const char* kTinyConfig = R"(
model:
  d_model: 32
  n_layers: 1
  n_heads: 4
  n_kv_heads: 2
  num_experts: 4
  expert_intermediate_dim: 32
  max_seq_len: 32
training:
  batch_size: 2
  max_steps: 3
  warmup_steps: 1
  eval_every: 2
  eval_batches: 1
  device: cpu
)";

class Cli : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) /
              ("moe_cli_" + std::to_string(getpid()) + "_" +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    put("config.yaml", kTinyConfig);
    std::string text;
    for (int i = 0; i < 4000; ++i) text += "The lamp number " + std::to_string(i) + " is green.\n";
    put("text.txt", text);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void put(const std::string& name, const std::string& bytes) {
    write_file_atomically(folder_ / name, bytes);
  }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }

  // Runs in the test's folder, so that relative paths in messages are short. errors: where standard error
  // goes.
  CommandResult moe(const std::string& arguments, const std::string& errors = "2>&1") const {
    const std::string command = "cd '" + folder_.string() + "' && XDG_CACHE_HOME='" + at("cache") +
                                "' '" MOE_PROGRAM "' " + arguments + " " + errors + " < /dev/null";
    CommandResult result;
    std::FILE* pipe = popen(command.c_str(), "r");
    if (!pipe) return result;
    std::array<char, 4096> buffer{};
    for (size_t n = 0; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
      result.output.append(buffer.data(), n);
    const int status = pclose(pipe);
    result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return result;
  }
  CommandResult train(const std::string& extra) const {
    return moe("train --config config.yaml data.document_split=line training.run_name=run " + extra);
  }

  template <class Matcher>
  static void complains(const CommandResult& result, const Matcher& message) {
    EXPECT_EQ(result.code, 1) << result.output;
    EXPECT_THAT(result.output, message);
    EXPECT_THAT(result.output, ::testing::Not(::testing::HasSubstr("internal error")));
  }
  // One message, exit code 1, no run left behind.
  template <class Matcher>
  void refused(const CommandResult& result, const Matcher& message) const {
    complains(result, message);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "runs" / "run")) << result.output;
  }

  std::filesystem::path folder_;
};

}  // namespace moe
