// SPDX-License-Identifier: MIT
#include "report/server.h"

#include <fmt/format.h>
#include <httplib.h>
#include <sys/socket.h>

#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "base/error.h"

namespace moe::report {

struct Server::Http {
  httplib::Server server;
  std::mutex mutex;  // of data
  std::thread thread;
};

Server::Server(int port, std::string page, std::function<std::string()> data)
    : http_(std::make_unique<Http>()) {
  httplib::Server& server = http_->server;
  server.set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
    const std::string host = request.get_header_value("Host");
    if (host == fmt::format("127.0.0.1:{}", port_) || host == fmt::format("localhost:{}", port_))
      return httplib::Server::HandlerResponse::Unhandled;
    response.status = 403;
    return httplib::Server::HandlerResponse::Handled;
  });
  // Not SO_REUSEPORT, the library's habit: two of us would share a port without knowing.
  server.set_socket_options([](socket_t socket) {
    const int on = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  });
  server.Get("/", [page = std::move(page)](const httplib::Request&, httplib::Response& response) {
    response.set_content(page, "text/html; charset=utf-8");
  });
  server.Get("/data.json",
             [this, data = std::move(data)](const httplib::Request& request, httplib::Response& response) {
               const std::lock_guard lock(http_->mutex);
               const std::string json = data();
               const std::string tag = fmt::format("\"{:x}\"", std::hash<std::string>()(json));
               response.set_header("ETag", tag);
               response.set_header("Cache-Control", "no-store");
               if (request.get_header_value("If-None-Match") == tag)
                 response.status = 304;
               else
                 response.set_content(json, "application/json");
             });
  port_ =
      port == 0 ? server.bind_to_any_port("127.0.0.1") : (server.bind_to_port("127.0.0.1", port) ? port : -1);
  if (port_ <= 0)
    throw UserError(fmt::format("port {}", port), "a free port", "one that is in use",
                    "--port 0 takes any free one");
  http_->thread = std::thread([this] { http_->server.listen_after_bind(); });
}

Server::~Server() {
  while (!http_->server.is_running())
    std::this_thread::yield();  // a stop before the start would not be heard
  http_->server.stop();
  http_->thread.join();
}

std::string Server::url() const {
  return fmt::format("http://127.0.0.1:{}/", port_);
}

}  // namespace moe::report
