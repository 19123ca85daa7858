// SPDX-License-Identifier: MIT
// Signals taken by a thread of their own that waits for them, never by a handler: a handler would run on top
// of whatever code a compute thread is in, and the kernels that oneDNN generates keep data on the stack where
// the handler's frame goes (a run then died of a corrupted heap).
#pragma once

#include <atomic>
#include <csignal>
#include <functional>
#include <thread>

namespace moe::cli {

class SignalThread {
 public:
  // Blocks the signals in this thread and all that it starts: make it before any other thread. taken: called
  // with each that comes, by the thread.
  SignalThread(const sigset_t& signals, std::function<void(int signal)> taken);
  ~SignalThread();
  SignalThread(const SignalThread&) = delete;
  SignalThread& operator=(const SignalThread&) = delete;

 private:
  void watch();

  sigset_t signals_, before_{};
  std::function<void(int signal)> taken_;
  std::atomic<bool> done_{false};
  std::thread thread_;
};

}  // namespace moe::cli
