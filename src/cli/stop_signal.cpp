// SPDX-License-Identifier: MIT
#include "cli/stop_signal.h"

#include <unistd.h>

#include <ctime>

#include "base/start_thread.h"

namespace moe::cli {
namespace {

constexpr int kStopping[] = {SIGINT, SIGQUIT, SIGHUP, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU};

bool is_ignored(int signal) {
  struct sigaction action {};
  return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

StopSignal::StopSignal() {
  sigemptyset(&signals_);
  // An ignored signal would be seen all the same once it is blocked.
  for (const int signal : kStopping)
    if (!is_ignored(signal)) sigaddset(&signals_, signal);
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, &pipe_);
  sigaction(SIGXFSZ, &ignore, &size_);
  pthread_sigmask(SIG_BLOCK, &signals_, &before_);
  try {
    thread_ = start_thread([this] { watch(); });
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    throw;
  }
}

StopSignal::~StopSignal() {
  done_ = true;
  thread_.join();
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  sigaction(SIGPIPE, &pipe_, nullptr);
  sigaction(SIGXFSZ, &size_, nullptr);
}

void StopSignal::watch() {
  while (!done_) {
    const timespec patience{.tv_sec = 0, .tv_nsec = 100'000'000};
    const int signal = sigtimedwait(&signals_, nullptr, &patience);
    if (signal < 0) continue;  // nothing came
    const bool by_hand = signal == SIGINT || signal == SIGQUIT;
    if (by_hand && (number_ == SIGINT || number_ == SIGQUIT)) _exit(128 + signal);
    number_ = signal;
    stop_.request_stop();
  }
}

}  // namespace moe::cli
