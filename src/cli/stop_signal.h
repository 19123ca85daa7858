// SPDX-License-Identifier: MIT
// SIGINT and SIGTERM as a number to look at. They are taken by a thread of their own that waits for them, never by
// a handler: a handler would run on top of whatever code a compute thread is in, and the kernels that oneDNN
// generates keep data on the stack where the handler's frame goes (a run then died of a corrupted heap).
#pragma once

#include <atomic>
#include <csignal>
#include <thread>

namespace moe::cli {

class StopSignal {
 public:
  // Blocks the two signals in this thread and all that it starts: make it before any other thread.
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  // 0, or the signal that asked to stop. A second SIGINT ends the program at once.
  const std::atomic<int>& number() const { return number_; }

 private:
  void watch();
  sigset_t signals_{}, before_{};
  std::atomic<int> number_{0};
  std::atomic<bool> done_{false};
  std::thread thread_;
};

}  // namespace moe::cli
