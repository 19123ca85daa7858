// SPDX-License-Identifier: MIT
// Whose a run is: one process at a time writes into its folder. That process holds run.lock there.
//   The kernel's lock (flock) ends with the process. Between processes of one kernel it decides.
//   The file names the owner. That is for the message, and for file systems whose locks do not reach other
//   machines. The owner touches the file again and again. A lock of another machine is stale when that has
//   stopped.
// docs/decisions/0014-one-process-a-run.md says why.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace moe::train {

class RunLock {
 public:
  struct Times {
    std::chrono::milliseconds beat{5'000};      // between two signs of life
    std::chrono::milliseconds silence{60'000};  // after so long without one the owner is gone
  };
  using Say = std::function<void(const std::string& text)>;

  // Takes the lock of the run in this folder, which exists. Throws UserError, with the owner's host and
  // process, when somebody has it. say: is told when it has to wait for signs of life.
  RunLock(const std::filesystem::path& folder, const Say& say, Times times);
  RunLock(const std::filesystem::path& folder, const Say& say) : RunLock(folder, say, Times()) {}
  ~RunLock();  // gives it back
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  // Another machine took the run while this process was silent for too long. Nothing may be written any more.
  bool lost() const { return lost_; }
  // The folder's place by now: nothing after it was deleted, or moved by another machine.
  std::optional<std::filesystem::path> folder() const;
  // The lock file is still in that folder, so that others find it.
  bool in_place() const;

 private:
  bool lock_file(const std::filesystem::path& file);  // whether the file system has locks
  void wait_for_signs(const std::string& owner, const Say& say);
  std::string read() const;
  void beat();
  [[noreturn]] void refuse(const std::string& owner) const;

  const std::filesystem::path folder_;
  const Times times_;
  const std::string me_;
  int directory_ = -1, file_ = -1;
  std::atomic<bool> lost_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace moe::train
