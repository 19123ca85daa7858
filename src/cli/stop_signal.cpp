// SPDX-License-Identifier: MIT
#include "cli/stop_signal.h"

#include <unistd.h>

#include <ctime>

namespace moe::cli {

StopSignal::StopSignal() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals_, &before_);
  thread_ = std::thread([this] { watch(); });
}

StopSignal::~StopSignal() {
  done_ = true;
  thread_.join();
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void StopSignal::watch() {
  while (!done_) {
    const timespec patience{.tv_sec = 0, .tv_nsec = 100'000'000};
    const int signal = sigtimedwait(&signals_, nullptr, &patience);
    if (signal < 0) continue;  // nothing came
    if (signal == SIGINT && number_ == SIGINT) _exit(128 + SIGINT);
    number_ = signal;
  }
}

}  // namespace moe::cli
