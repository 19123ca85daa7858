// SPDX-License-Identifier: MIT
// A small table of names and values that ranks share over TCP, in the protocol of PyTorch's TCPStore: so that
// under torchrun, whose agent serves one, ranks are clients of that one, and elsewhere rank 0 serves. For
// what ranks must say before or beside their communicator: where to meet, who is there, who has failed.
// Nothing large.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace moe::comm {

// One thread serves all connections. What is not of the protocol ends its connection; so does one that says
// nothing, when others want its place. A connection's memory is bounded by the longest message, the table's
// by kMostBytes.
class StoreServer {
 public:
  static constexpr size_t kStrangers = 64;  // that have said nothing yet
  static constexpr size_t kMostBytes = size_t{64} << 20;

  // port 0: any that is free. Throws UserError when it cannot listen there.
  explicit StoreServer(int port);
  ~StoreServer();
  StoreServer(const StoreServer&) = delete;
  StoreServer& operator=(const StoreServer&) = delete;
  int port() const { return port_; }

 private:
  struct Client {
    int socket = -1;
    std::chrono::steady_clock::time_point since = {};
    bool known = false;  // has begun as the protocol does
    std::string in = {}, out = {};
  };

  void run();
  bool accept_all();
  size_t strangers() const;
  bool drop_stranger();
  bool serve(Client& client);
  void end(Client& client);

  int listener_ = -1, port_ = 0;
  std::atomic<bool> stopping_{false};
  // Of the thread.
  std::map<std::string, std::string> values_;
  size_t bytes_ = 0;             // of values_
  std::vector<Client> clients_;  // as they came
  std::thread thread_;
};

class Store {
 public:
  // Tries until there is a server or the time is over. prefix: of all keys, so that runs, and starts of one
  // run, that share a server do not read each other's.
  Store(const std::string& host, int port, const std::string& prefix, std::chrono::milliseconds timeout);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // All throw UserError when the server is gone. From any thread.
  void set(const std::string& key, const std::string& value);
  std::optional<std::string> get(const std::string& key);
  // Waits until somebody has set it; nothing when that takes too long.
  std::optional<std::string> wait(const std::string& key, std::chrono::milliseconds timeout);
  int64_t add(const std::string& key, int64_t n);  // the sum so far

 private:
  std::string where_, prefix_;
  std::mutex mutex_;
  int socket_ = -1;
};

}  // namespace moe::comm
