// SPDX-License-Identifier: MIT
// Keeps files of the hub on the disk while they are read: a thread brings one after the other into the cache,
// within a size, and each is read from there as soon as it is whole. Processes that share the cache's folder
// take turns.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>

#include "hub/hub.h"

namespace moe::hub {

class Keeper {
 public:
  // limit: bytes of all that we fetched into the cache (Cache::prune makes room). The hub and the client must
  // outlive it.
  Keeper(Hub& hub, net::Client& client, int64_t limit, Hub::Event on_event);
  ~Keeper();
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  // The cache's file when it is there; else one that is read through the hub until it is, and stays so when
  // the limit leaves no room or the fetch fails, which is told.
  std::shared_ptr<const Input> open(const Address& address, const File& file);

 private:
  class Switch;
  struct Request {
    Address address;
    File file;
    std::weak_ptr<const Switch> input;
  };

  void work(const std::stop_token& stop);
  void fulfil(const Request& request);
  FileLock wait_for_turn();
  void tell(const Request& request, const std::string& line) const;

  Hub& hub_;
  net::Client& client_;
  const int64_t limit_;
  const Hub::Event on_event_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<Request> requests_;
  std::jthread thread_;  // last: it uses what is above
};

}  // namespace moe::hub
