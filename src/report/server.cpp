// SPDX-License-Identifier: MIT
#include "report/server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <random>
#include <string_view>
#include <utility>

#include "base/ascii.h"
#include "base/error.h"
#include "base/start_thread.h"

namespace moe::report {
namespace {

struct Request {
  std::string method, target;
  std::map<std::string, std::string> headers = {};  // names in lower case
};

// Nothing where it is no request of HTTP/1.x, or names a header twice: what one reader takes for the first,
// another takes for the last.
std::optional<Request> parse(std::string_view head) {
  const auto take_line = [&] {
    const size_t end = head.find("\r\n");
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(end + 2);
    return line;
  };
  const std::string_view first = take_line();
  const size_t one = first.find(' '), two = first.rfind(' ');
  if (one == std::string_view::npos || one == two || !first.substr(two + 1).starts_with("HTTP/1."))
    return std::nullopt;
  Request request{std::string(first.substr(0, one)), std::string(first.substr(one + 1, two - one - 1))};
  for (std::string_view line = take_line(); !line.empty(); line = take_line()) {
    const size_t colon = line.find(':');
    if (colon == 0 || colon == std::string_view::npos || line.find_first_of(" \t") < colon)
      return std::nullopt;
    if (!request.headers.emplace(lower(line.substr(0, colon)), trim(line.substr(colon + 1), " \t")).second)
      return std::nullopt;
  }
  return request;
}

// With nothing to run or to load but what the page itself brings, and nobody to talk to but this server.
std::string reply(std::string_view status, std::string_view headers = "", std::string_view body = "",
                  bool with_body = true, std::string_view script = "'none'") {
  std::string text = fmt::format(
      "HTTP/1.1 {}\r\nConnection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
      "Referrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n"
      "Content-Security-Policy: default-src 'none'; script-src {}; style-src 'unsafe-inline'; "
      "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n{}",
      status, script, headers);
  if (status.starts_with("304")) return text + "\r\n";
  text += fmt::format("Content-Length: {}\r\n\r\n", body.size());
  return with_body ? text + std::string(body) : text;
}

[[noreturn]] void refuse_port(int port) {
  throw UserError(fmt::format("port {}", port), "a free port",
                  errno == EADDRINUSE ? "one that is in use" : std::strerror(errno),
                  "--port 0 takes any free one");
}

}  // namespace

Server::Server(int port, std::string page, std::function<std::string()> data)
    : page_(std::move(page)), data_(std::move(data)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  sockaddr_in address{};
  socklen_t size = sizeof(address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  // Not SO_REUSEPORT: two of us would share a port without knowing.
  if (listener_ < 0 || ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
      ::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(listener_, SOMAXCONN) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    const int error = errno;
    if (listener_ >= 0) ::close(listener_);
    errno = error;
    refuse_port(port);
  }
  port_ = ntohs(address.sin_port);
  wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  CHECK(wake_ >= 0, std::strerror(errno));
  thread_ = start_thread([this] { run(); });
}

Server::~Server() {
  const uint64_t one = 1;
  CHECK(::write(wake_, &one, sizeof(one)) == sizeof(one));
  thread_.join();
  for (const Connection& connection : connections_) ::close(connection.socket);
  ::close(listener_);
  ::close(wake_);
}

std::string Server::url() const {
  return fmt::format("http://127.0.0.1:{}/", port_);
}

void Server::run() {
  std::vector<pollfd> polled;
  for (;;) {
    polled = {{wake_, POLLIN, 0}, {listener_, POLLIN, 0}};
    for (const Connection& connection : connections_) {
      const bool writes = connection.answered && !connection.drained;
      polled.push_back({connection.socket, static_cast<short>(writes ? POLLOUT : POLLIN), 0});
    }
    ::poll(polled.data(), polled.size(), 1000);  // deadlines are looked at once a second
    if (polled[0].revents != 0) return;
    for (size_t i = 0; i < connections_.size(); ++i) {
      Connection& connection = connections_[i];
      const bool over = !serve(connection, polled[i + 2].revents) || Clock::now() > connection.deadline;
      if (over) ::close(std::exchange(connection.socket, -1));
    }
    std::erase_if(connections_, [](const Connection& connection) { return connection.socket < 0; });
    if (polled[1].revents != 0) accept();
  }
}

void Server::accept() {
  const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (socket < 0) {
    // Without a free descriptor the oldest connection makes room; without any, somebody else has to.
    if ((errno == EMFILE || errno == ENFILE) && connections_.empty())
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    if ((errno != EMFILE && errno != ENFILE) || connections_.empty()) return;
  }
  if (socket < 0 || connections_.size() == kMostConnections) {
    ::close(connections_.front().socket);
    connections_.erase(connections_.begin());
  }
  if (socket >= 0)
    connections_.push_back({.socket = socket, .deadline = Clock::now() + std::chrono::seconds(kHeadSeconds)});
}

bool Server::serve(Connection& connection, short events) {
  if (events == 0) return true;
  const bool writes = connection.answered && !connection.drained;
  return writes ? write(connection) : read(connection);
}

bool Server::read(Connection& connection) {
  std::array<char, 4096> buffer;
  const ssize_t count = ::recv(connection.socket, buffer.data(), buffer.size(), 0);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  if (count == 0) return false;
  if (connection.drained) return true;
  connection.in.append(buffer.data(), static_cast<size_t>(count));
  const size_t end = connection.in.find("\r\n\r\n");
  const bool too_long = std::min(end, connection.in.size()) > kLongestHead;
  if (end == std::string::npos && !too_long) return true;
  connection.out =
      too_long ? reply("431 Request Header Fields Too Large") : answer(connection.in.substr(0, end + 4));
  connection.answered = true;
  connection.in.clear();
  connection.deadline = Clock::now() + std::chrono::seconds(kAnswerSeconds);
  return true;
}

bool Server::write(Connection& connection) {
  const std::string_view rest = std::string_view(connection.out).substr(connection.sent);
  const ssize_t count = ::send(connection.socket, rest.data(), rest.size(), MSG_NOSIGNAL);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  connection.sent += static_cast<size_t>(count);
  if (connection.sent < connection.out.size()) return true;
  // A close with something unread would take the answer back from under the other side's eyes.
  connection.drained = true;
  connection.out.clear();
  connection.deadline = Clock::now() + std::chrono::seconds(2);
  return ::shutdown(connection.socket, SHUT_WR) == 0;
}

std::string Server::answer(const std::string& head) const {
  const auto request = parse(head);
  if (!request) return reply("400 Bad Request");
  const auto find = [&](const char* name) {
    const auto found = request->headers.find(name);
    return found == request->headers.end() ? "" : found->second;
  };
  const std::string host = find("host");
  if (host != fmt::format("127.0.0.1:{}", port_) && host != fmt::format("localhost:{}", port_))
    return reply("403 Forbidden");
  if (request->method != "GET" && request->method != "HEAD")
    return reply("405 Method Not Allowed", "Allow: GET, HEAD\r\n");
  const bool body = request->method == "GET";
  const std::string path = request->target.substr(0, request->target.find('?'));
  if (path == "/") return page_answer(body);
  if (path == "/data.json") return data_answer(find("if-none-match"), body);
  return reply("404 Not Found");
}

// The scripts of the page, and no others, know this answer's nonce.
std::string Server::page_answer(bool body) const {
  std::random_device random;
  const std::string nonce = fmt::format("{:08x}{:08x}{:08x}{:08x}", random(), random(), random(), random());
  constexpr std::string_view kTag = "<script>";
  const std::string marked = fmt::format("<script nonce=\"{}\">", nonce);
  std::string page = page_;
  for (size_t at = 0; (at = page.find(kTag, at)) != std::string::npos; at += marked.size())
    page.replace(at, kTag.size(), marked);
  return reply("200 OK", "Content-Type: text/html; charset=utf-8\r\n", page, body,
               fmt::format("'nonce-{}'", nonce));
}

std::string Server::data_answer(const std::string& known_tag, bool body) const {
  try {
    const std::string json = data_();
    const std::string tag = fmt::format("\"{:x}\"", std::hash<std::string>()(json));
    const std::string header = "ETag: " + tag + "\r\n";
    if (known_tag == tag) return reply("304 Not Modified", header);
    return reply("200 OK", header + "Content-Type: application/json\r\n", json, body);
  } catch (const std::exception&) {  // a file that cannot be read now may be read later
    return reply("503 Service Unavailable");
  }
}

}  // namespace moe::report
