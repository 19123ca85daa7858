// SPDX-License-Identifier: MIT
// The bodies of tests/torture/torture.h, and a test that they see a writer who is careless.
#include "torture/torture.h"

#include <gtest/gtest-spi.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <new>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace moe::test {

void Torture::make_old(const Writer& writer) const {
  fs::remove_all(folder_);
  fs::create_directories(folder_);
  writer.prepare(folder_);
}

std::string Torture::state_of(const Writer& writer) const {
  try {
    return writer.state(folder_);
  } catch (const std::exception& error) {
    return std::string("neither, ") + error.what();
  }
}

// What is half-written, by its name.
std::string Torture::leftovers() const {
  std::string names;
  for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
    const std::string name = entry.path().filename();
    for (const char* const sign : {".tmp-", ".partial", ".new"})
      if (name.find(sign) != std::string::npos) names += name + " ";
  }
  return names;
}

Torture::Outcome Torture::outcome_of(const Writer& writer, const fs::path& folder) {
  try {
    writer.write(folder);
    return {};
  } catch (const UserError& error) {
    return {End::error_of_user, error.what()};
  } catch (const std::bad_alloc&) {
    return {End::no_memory, "out of memory"};
  } catch (const std::exception& error) {
    return {End::other_error, error.what()};
  }
}

void Torture::expect_one_of_both(const Writer& writer, const Outcome& outcome,
                                 const std::string& when) const {
  const std::string state = state_of(writer);
  const bool well = outcome.end == End::well;
  EXPECT_TRUE(state == "new" || (state == "old" && !(well && writer.reports)))
      << state << " when " << when << ": " << (well ? "no error" : outcome.error);
}

void Torture::expect_new_after_another_try(const Writer& writer, const std::string& when) const {
  EXPECT_EQ(outcome_of(writer, folder_).error, "") << "the next try after " << when;
  EXPECT_EQ(state_of(writer), "new") << "the next try after " << when;
  EXPECT_EQ(leftovers(), "") << "the next try after " << when;
}

// For every n until nothing is hurt.
void Torture::fail_each_call(const Writer& writer, Fault fault) {
  while (!HasFailure()) {
    make_old(writer);
    ++fault.at;
    Watch watch(folder_, fault);
    const Outcome outcome = outcome_of(writer, folder_);
    watch.stop();
    if (!watch.struck()) break;
    const std::string when = watch.first_struck() + " failed (number " + std::to_string(fault.at) +
                             ", error " + std::to_string(fault.error) +
                             (fault.from_then_on ? ", and all after)" : ")");
    expect_one_of_both(writer, outcome, when);
    EXPECT_TRUE(outcome.end == End::well || outcome.end == End::error_of_user)
        << "no error of the user's when " << when << ": " << outcome.error;
    if (outcome.end != End::well) {
      EXPECT_NE(outcome.error.find(folder_.string()), std::string::npos) << outcome.error << " when " << when;
    }
    const bool sweeping = (watch.struck_calls() & (kRemove | kOpen)) != 0 && state_of(writer) == "new";
    if ((watch.struck_calls() & kRemove) == 0 && !fault.from_then_on && !sweeping) {
      EXPECT_EQ(leftovers(), "") << when;
    }
    expect_new_after_another_try(writer, when);
  }
  EXPECT_TRUE(HasFailure() || fault.at > 1) << "there was no call to fail";
}

// A fault that is none. Whether it came to it.
bool Torture::go_on_after(const Writer& writer, const Fault& fault) {
  if (HasFailure()) return false;
  make_old(writer);
  Watch watch(folder_, fault);
  EXPECT_EQ(outcome_of(writer, folder_).error, "");
  watch.stop();
  EXPECT_EQ(state_of(writer), "new");
  return watch.struck() && !HasFailure();
}

void Torture::fail_calls(const Writer& writer) {
  for (const int error : {ENOSPC, EIO, EACCES}) fail_each_call(writer, {.error = error});
  fail_each_call(writer, {.error = ENOSPC, .from_then_on = true});
  go_on_after(writer, {.at = 1, .shorten = true});
  for (int64_t n = 1; go_on_after(writer, {.at = n, .calls = kWrite, .error = EINTR}); ++n) {
  }
}

// For every n from `at` on until nothing is hurt; `at` is then 0.
void Torture::fail_allocations_from(const Writer& writer, std::atomic<int64_t>& at) {
  for (; !HasFailure(); ++at) {
    make_old(writer);
    Watch watch(folder_, {.at = at, .calls = kAllocate, .error = ENOMEM});
    const Outcome outcome = outcome_of(writer, folder_);
    watch.stop();
    if (!watch.struck()) break;
    const std::string when = "allocation " + std::to_string(at) + " failed";
    expect_one_of_both(writer, outcome, when);
    EXPECT_NE(outcome.end, End::other_error) << when << ": " << outcome.error;
    expect_new_after_another_try(writer, when);
  }
  EXPECT_TRUE(HasFailure() || at > 1);
  at = 0;
}

void Torture::fail_allocations(const Writer& writer) {
  if (HasFailure()) return;
  constexpr int kTerminated = 77;
  void* const shared =
      mmap(nullptr, sizeof(std::atomic<int64_t>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  auto& at = *new (shared) std::atomic<int64_t>(1);
  while (at > 0 && !HasFailure()) {
    const pid_t child = fork();
    if (child == 0) {
      std::set_terminate([] { _exit(kTerminated); });
      fail_allocations_from(writer, at);
      std::fflush(stdout);
      _exit(HasFailure() ? 1 : 0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status) << " when allocation " << at << " failed";
    ASSERT_NE(WEXITSTATUS(status), 1) << "see above";
    if (WEXITSTATUS(status) != kTerminated) continue;
    const std::string when = "the process ended because allocation " + std::to_string(at) + " failed";
    expect_one_of_both(writer, {End::terminated, "it ended"}, when);
    expect_new_after_another_try(writer, when);
    ++at;
  }
  munmap(shared, sizeof(std::atomic<int64_t>));
}

void Torture::lose_power(const Writer& writer) {
  if (HasFailure()) return;
  make_old(writer);
  Disk disk(folder_);
  Watch watch(folder_);
  writer.write(folder_);
  watch.stop();
  const size_t calls = watch.log().size();
  size_t states = 0;
  disk.lose_power(watch.log(), [&](const Disk& found, size_t made) {
    if (HasFailure()) return;
    ++states;
    found.write_to(folder_);
    const std::string when = "a power loss when " + std::to_string(made) + " of " + std::to_string(calls) +
                             " calls were made, state " + std::to_string(states);
    const std::string state = state_of(writer);
    EXPECT_TRUE(state == "new" || (state == "old" && !(writer.lasts && made == calls)))
        << state << " after " << when;
    expect_new_after_another_try(writer, when);
  });
  EXPECT_TRUE(HasFailure() || states > calls);
}

namespace {

class CarelessWriter : public Torture {};

TEST_F(CarelessWriter, IsSeen) {
  const Writer careless{
      .prepare = [](const fs::path& folder) { write_file_atomically(folder / "a", "old state"); },
      .write = [](const fs::path& folder) { std::ofstream(folder / "a") << "new state"; },
      .state =
          [](const fs::path& folder) {
            const std::string bytes = read_file(folder / "a");
            return bytes.ends_with(" state") ? bytes.substr(0, 3) : "half of it";
          }};
  ::testing::TestPartResultArray failures;
  {
    const ::testing::ScopedFakeTestPartResultReporter reporter(
        ::testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &failures);
    fail_calls(careless);
    lose_power(careless);
  }
  EXPECT_GT(failures.size(), 0);
}

}  // namespace
}  // namespace moe::test
