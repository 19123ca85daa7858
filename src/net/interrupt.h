// SPDX-License-Identifier: MIT
// What lets a blocked call hear of a stop: made at the start of a call, it listens to the client's stop and
// to the thread's StopScope. Inside src/net only.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <stop_token>

namespace moe::net {

class Interrupt {
 public:
  explicit Interrupt(std::stop_token client);
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  bool stopped() const { return client_.stop_requested() || scope_.stop_requested(); }
  void check() const;  // throws Cancelled
  // Sleeps; throws Cancelled at once when stopped.
  void wait(double seconds);
  // Called, from the stopping thread, when a stop comes; empty: nothing. Returns after a call under way has
  // ended.
  void on_stop(std::function<void()> wake);

 private:
  void notify();

  const std::stop_token client_, scope_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> wake_;
  // Last: a stop may call notify() as soon as they exist, and until they are gone.
  std::stop_callback<std::function<void()>> client_stop_, scope_stop_;
};

}  // namespace moe::net
