// SPDX-License-Identifier: MIT
// Serves the live page of a run to browsers on this machine.
#pragma once

#include <functional>
#include <memory>
#include <string>

namespace moe::report {

// Answers / with the page and /data.json with what `data` returns (called on the server's threads, one at a time).
class Server {
 public:
  // port 0: any free one. Only this machine can reach it (127.0.0.1); requests that came by another name are refused, so
  // that no web page can read it through a name of its own. UserError when the port is taken.
  Server(int port, std::string page, std::function<std::string()> data);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int port() const { return port_; }
  std::string url() const;

 private:
  struct Http;
  std::unique_ptr<Http> http_;
  int port_ = 0;
};

}  // namespace moe::report
