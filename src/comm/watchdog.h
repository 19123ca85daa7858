// SPDX-License-Identifier: MIT
// Notices ranks that die or hang where the transport itself would wait for ever. Each rank says once a
// second, in the store, how many collectives it has begun; rank 0 looks at all, all look at rank 0. A rank
// that falls silent has died or lost its network; one that began fewer than the others while they have waited
// too long hangs. One rank says so, and the process of every rank ends with exit code 1.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "comm/store.h"

namespace moe::comm {

class Watchdog {
 public:
  struct Hooks {
    std::function<bool()> idle;          // nothing under way: all collectives that were begun are done
    std::function<std::string()> error;  // of the transport; "" while it is well
    // Ends the process; message "": another rank has said it. Where it returns (in tests) the watch is over.
    std::function<void(const std::string& message)> end;
  };
  // silence: of a rank, until it counts as dead. The store must outlive this.
  Watchdog(Store& store, int rank, int size, std::chrono::milliseconds timeout,
           std::chrono::milliseconds silence, Hooks hooks);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // This rank begins a collective.
  void begin();
  void suspend_timeout(bool suspended) { timeout_suspended_ = suspended; }
  // This rank cannot go on: all others end.
  void tell(const std::string& reason);

 private:
  struct Heartbeat {
    std::string text;  // as last seen
    std::chrono::steady_clock::time_point since;
  };
  void run();
  void look();
  void end(const std::string& message);
  void look_at(int rank, std::chrono::steady_clock::time_point now);
  void waited_too_long();
  void all_wait(std::vector<std::string> beats);
  std::string name_of(int rank);

  Store& store_;
  int rank_, size_;
  std::chrono::milliseconds timeout_, silence_;
  Hooks hooks_;
  std::atomic<int64_t> begun_{0}, begun_at_{0};
  std::atomic<bool> timeout_suspended_{false}, stop_{false};
  int64_t heartbeats_ = 0;
  std::vector<Heartbeat> seen_;
  // While all ranks wait for one another: since when, as beats of this rank; what the beats of all were;
  // whether they were found alive once before.
  int64_t asked_for_ = -1, asked_at_ = 0;
  std::vector<std::string> asked_;
  bool all_were_here_ = false;
  std::thread thread_;
};

}  // namespace moe::comm
