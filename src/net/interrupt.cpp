// SPDX-License-Identifier: MIT
#include "net/interrupt.h"

#include <chrono>
#include <utility>

#include "net/stop_scope.h"

namespace moe::net {

Interrupt::Interrupt(std::stop_token client)
    : client_(std::move(client)),
      scope_(StopScope::current()),
      client_stop_(client_, [this] { notify(); }),
      scope_stop_(scope_, [this] { notify(); }) {}

void Interrupt::notify() {
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
  if (wake_) wake_();
}

void Interrupt::check() const {
  if (stopped()) throw Cancelled();
}

void Interrupt::wait(double seconds) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return stopped(); });
  check();
}

void Interrupt::on_stop(std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  wake_ = std::move(wake);
}

}  // namespace moe::net
