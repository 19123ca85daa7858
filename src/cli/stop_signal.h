// SPDX-License-Identifier: MIT
// Signals that ask a run to end, as a number to look at: of a person (SIGINT, SIGQUIT), of a terminal or
// connection that closes (SIGHUP), of those who stop processes (SIGTERM), and of schedulers that warn before
// they do (SIGUSR1, SIGUSR2, SIGXCPU). A reader of our output that goes (SIGPIPE) and a file that may not
// grow (SIGXFSZ) end nothing: the write fails, and that is looked at where it matters. What was ignored when
// the program started (nohup) stays ignored.
#pragma once

#include <atomic>
#include <csignal>
#include <optional>
#include <stop_token>

#include "cli/signal_thread.h"

namespace moe::cli {

class StopSignal {
 public:
  // Blocks the signals in this thread and all that it starts: make it before any other thread.
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  // 0, or the signal that asked to stop. A second SIGINT or SIGQUIT ends the program at once.
  const std::atomic<int>& number() const { return number_; }
  // Stopped by the same, for who waits for something else: a net::StopScope.
  std::stop_token token() const { return stop_.get_token(); }

 private:
  void taken(int signal);
  struct sigaction pipe_ {
  }, size_{};
  std::atomic<int> number_{0};
  std::stop_source stop_;
  std::optional<SignalThread> thread_;
};

}  // namespace moe::cli
