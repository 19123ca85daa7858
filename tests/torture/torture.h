// SPDX-License-Identifier: MIT
// What each writer goes through: every call and every allocation fails once, and from then on; the power goes
// after every call. A writer is a step from an old state of a folder to a new one; whatever happens, one of
// them is there, nothing is half-written, the message names the file, and the next try makes the new state.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <string>

#include "torture/calls.h"
#include "torture/disk.h"

namespace moe::test {

namespace fs = std::filesystem;

// All take the folder.
struct Writer {
  std::function<void(const fs::path&)> prepare;  // makes the old state, in an empty folder
  std::function<void(const fs::path&)> write;    // from the old state to the new one
  // "old" or "new"; anything else says what is wrong.
  std::function<std::string(const fs::path&)> state;
  bool reports = true;  // what it could not write is an error; else it is a warning and may be missing
  bool lasts = true;    // what write() has done outlives a power loss once it has returned
};

// GoogleTest deletes fixtures. NOLINTNEXTLINE(cppcoreguidelines-virtual-class-destructor)
class Torture : public ::testing::Test {
 protected:
  Torture() { fs::create_directories(folder_.parent_path()); }
  ~Torture() override { fs::remove_all(folder_.parent_path()); }

  void torture(const Writer& writer) {
    fail_calls(writer);
    fail_allocations(writer);
    lose_power(writer);
  }
  void fail_calls(const Writer& writer);
  // In another process, which ends where memory is missing in a destructor (nlohmann's JSON takes some
  // there).
  void fail_allocations(const Writer& writer);
  void lose_power(const Writer& writer);

  // In memory where there is such a file system: a driver makes its files some thousand times.
  static fs::path place() { return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : ::testing::TempDir(); }

  fs::path folder_ = place() /
                     ("torture-" + std::to_string(getpid()) + "-" +
                      ::testing::UnitTest::GetInstance()->current_test_info()->name()) /
                     "folder";

 private:
  enum class End : uint8_t { well, error_of_user, no_memory, terminated, other_error };
  struct Outcome {
    End end = End::well;
    std::string error{};
  };

  void make_old(const Writer& writer) const;
  std::string state_of(const Writer& writer) const;
  std::string leftovers() const;
  static Outcome outcome_of(const Writer& writer, const fs::path& folder);
  void fail_allocations_from(const Writer& writer, std::atomic<int64_t>& at);
  void fail_each_call(const Writer& writer, Fault fault);
  bool go_on_after(const Writer& writer, const Fault& fault);
  void expect_one_of_both(const Writer& writer, const Outcome& outcome, const std::string& when) const;
  void expect_new_after_another_try(const Writer& writer, const std::string& when) const;
};

}  // namespace moe::test
