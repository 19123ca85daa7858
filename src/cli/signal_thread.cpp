// SPDX-License-Identifier: MIT
#include "cli/signal_thread.h"

#include <ctime>
#include <utility>

#include "base/start_thread.h"

namespace moe::cli {

SignalThread::SignalThread(const sigset_t& signals, std::function<void(int signal)> taken)
    : signals_(signals), taken_(std::move(taken)) {
  pthread_sigmask(SIG_BLOCK, &signals_, &before_);
  try {
    thread_ = start_thread([this] { watch(); });
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    throw;
  }
}

SignalThread::~SignalThread() {
  done_ = true;
  thread_.join();
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void SignalThread::watch() {
  while (!done_) {
    const timespec patience{.tv_sec = 0, .tv_nsec = 100'000'000};
    const int signal = sigtimedwait(&signals_, nullptr, &patience);
    if (signal >= 0) taken_(signal);  // else nothing came
  }
}

}  // namespace moe::cli
