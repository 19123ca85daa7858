// SPDX-License-Identifier: MIT
#include "cli/stop_signal.h"

#include <unistd.h>

namespace moe::cli {
namespace {

constexpr int kStopping[] = {SIGINT, SIGQUIT, SIGHUP, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU};

bool is_ignored(int signal) {
  struct sigaction action {};
  return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

StopSignal::StopSignal() {
  sigset_t signals;
  sigemptyset(&signals);
  // An ignored signal would be seen all the same once it is blocked.
  for (const int signal : kStopping)
    if (!is_ignored(signal)) sigaddset(&signals, signal);
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, &pipe_);
  sigaction(SIGXFSZ, &ignore, &size_);
  thread_.emplace(signals, [this](int signal) { taken(signal); });
}

StopSignal::~StopSignal() {
  thread_.reset();
  sigaction(SIGPIPE, &pipe_, nullptr);
  sigaction(SIGXFSZ, &size_, nullptr);
}

void StopSignal::taken(int signal) {
  const bool by_hand = signal == SIGINT || signal == SIGQUIT;
  if (by_hand && (number_ == SIGINT || number_ == SIGQUIT)) _exit(128 + signal);
  number_ = signal;
  stop_.request_stop();
}

}  // namespace moe::cli
