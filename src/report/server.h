// SPDX-License-Identifier: MIT
// Serves the live page of a run to browsers on this machine. One thread looks at all connections in turn, and
// a connection carries one request: nobody can hold the others up, and nothing that follows a request is
// taken for another one.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace moe::report {

// Answers GET and HEAD of / with the page and of /data.json with what `data` returns (called on the server's
// thread).
class Server {
 public:
  static constexpr size_t kLongestHead = 8192;    // bytes of a request; more is refused
  static constexpr size_t kMostConnections = 64;  // one more, and the oldest is closed
  static constexpr int kHeadSeconds = 10;         // until a request must be there
  static constexpr int kAnswerSeconds = 120;      // until its answer must be taken

  // port 0: any free one. Only this machine can reach it (127.0.0.1); requests that came by another name are
  // refused, so that no web page can read it through a name of its own. UserError when the port is taken.
  Server(int port, std::string page, std::function<std::string()> data);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int port() const { return port_; }
  std::string url() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Connection {
    int socket = -1;
    Clock::time_point deadline;
    std::string in = {}, out = {};
    size_t sent = 0;
    bool answered = false,
         drained = false;  // drained: all is sent, what the other side still says is thrown away
  };

  void run();
  void accept();
  bool serve(Connection& connection, short events);  // false: it is over
  bool read(Connection& connection);
  bool write(Connection& connection);
  std::string answer(const std::string& head) const;
  std::string page_answer(bool body) const;
  std::string data_answer(const std::string& known_tag, bool body) const;

  const std::string page_;
  const std::function<std::string()> data_;
  int port_ = 0, listener_ = -1, wake_ = -1;
  std::vector<Connection> connections_;  // the oldest first
  std::thread thread_;
};

}  // namespace moe::report
