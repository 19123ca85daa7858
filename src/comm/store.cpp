// SPDX-License-Identifier: MIT
// Little-endian; a text is its length in 8 bytes, then its bytes. Operations begin with one byte; the numbers below are the
// protocol's, and those that our own ranks use.
#include "comm/store.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <utility>

#include "base/error.h"

namespace moe {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint8_t kValidate = 0, kSet = 1, kGet = 3, kAdd = 4, kCheck = 5, kPing = 13;
constexpr uint32_t kMagic = 0x3C85F7CE;
constexpr uint64_t kLongest = 1 << 20;  // of a text: a larger one is not from a rank
constexpr auto kPause = std::chrono::milliseconds(20);

bool send_all(int socket, const void* data, size_t size) {
  for (const char* at = static_cast<const char*>(data); size > 0;) {
    const ssize_t sent = send(socket, at, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    at += sent;
    size -= static_cast<size_t>(sent);
  }
  return true;
}

bool receive_all(int socket, void* data, size_t size) {
  for (char* at = static_cast<char*>(data); size > 0;) {
    const ssize_t received = recv(socket, at, size, 0);
    if (received < 0 && errno == EINTR) continue;
    if (received <= 0) return false;
    at += received;
    size -= static_cast<size_t>(received);
  }
  return true;
}

template <class T>
std::optional<T> receive(int socket) {
  T value{};
  if (!receive_all(socket, &value, sizeof(value))) return std::nullopt;
  return value;
}

std::optional<std::string> receive_text(int socket) {
  const auto size = receive<uint64_t>(socket);
  if (!size || *size > kLongest) return std::nullopt;
  std::string text(*size, '\0');
  if (!receive_all(socket, text.data(), text.size())) return std::nullopt;
  return text;
}

template <class T>
void put(std::string& message, const T& value) {
  message.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void put_text(std::string& message, const std::string& text) {
  put(message, uint64_t{text.size()});
  message += text;
}

int64_t as_number(const std::string& text) {
  int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

void be_quick(int socket) {
  const int yes = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

// -1 when nobody answers there now.
int connect_to(const std::string& host, int port) {
  addrinfo wanted{}, *found = nullptr;
  wanted.ai_socktype = SOCK_STREAM;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted, &found) != 0) return -1;
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> all(found, freeaddrinfo);
  for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
    const int candidate =
        socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC, address->ai_protocol);
    if (candidate < 0) continue;
    if (connect(candidate, address->ai_addr, address->ai_addrlen) == 0) return candidate;
    close(candidate);
  }
  return -1;
}

}  // namespace

StoreServer::StoreServer(int port) {
  listener_ = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int yes = 1, no = 0;
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_addr = in6addr_any;
  any.sin6_port = htons(static_cast<uint16_t>(port));
  sockaddr_in any4{};
  any4.sin_family = AF_INET;
  any4.sin_port = any.sin6_port;
  bool good = false;
  if (listener_ >= 0) {
    setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    setsockopt(listener_, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
    good = bind(listener_, reinterpret_cast<sockaddr*>(&any), sizeof(any)) == 0;
  } else {  // a machine without IPv6
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    good = bind(listener_, reinterpret_cast<sockaddr*>(&any4), sizeof(any4)) == 0;
  }
  if (!good || listen(listener_, SOMAXCONN) != 0) {
    const std::string reason = std::strerror(errno);
    if (listener_ >= 0) close(listener_);
    throw UserError(fmt::format("port {}", port), "to listen there, for the other ranks", reason,
                    "choose another with --rendezvous HOST:PORT or MASTER_PORT");
  }
  sockaddr_storage bound{};
  socklen_t length = sizeof(bound);
  getsockname(listener_, reinterpret_cast<sockaddr*>(&bound), &length);
  port_ = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                            : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
  accepting_ = std::thread([this] { accept_all(); });
}

StoreServer::~StoreServer() {
  shutdown(listener_, SHUT_RDWR);
  accepting_.join();
  close(listener_);
  {
    const std::lock_guard lock(mutex_);
    for (const int socket : sockets_) shutdown(socket, SHUT_RDWR);
  }
  for (auto& thread : threads_) thread.join();
  for (const int socket : sockets_) close(socket);
}

void StoreServer::accept_all() {
  for (;;) {
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
    if (client < 0) return;  // the end
    be_quick(client);
    const std::lock_guard lock(mutex_);
    sockets_.push_back(client);
    threads_.emplace_back([this, client] { serve(client); });
  }
}

void StoreServer::serve(int socket) {
  for (auto operation = receive<uint8_t>(socket); operation && answer(socket, *operation);)
    operation = receive<uint8_t>(socket);
  shutdown(socket, SHUT_RDWR);
}

// False for what is not of the protocol: then the connection ends.
bool StoreServer::answer(int socket, uint8_t operation) {
  if (operation == kValidate) return receive<uint32_t>(socket) == kMagic;
  std::string reply;
  if (operation == kPing) {
    const auto nonce = receive<uint32_t>(socket);
    if (!nonce) return false;
    put(reply, *nonce);
  } else if (operation == kSet) {
    const auto key = receive_text(socket);
    if (!key) return false;
    auto value = receive_text(socket);
    if (!value) return false;
    const std::lock_guard lock(mutex_);
    values_[*key] = std::move(*value);
  } else if (operation == kGet) {
    const auto key = receive_text(socket);
    const std::lock_guard lock(mutex_);
    if (!key || !values_.contains(*key)) return false;  // clients look first
    put_text(reply, values_[*key]);
  } else if (operation == kAdd) {
    const auto key = receive_text(socket);
    if (!key) return false;
    const auto n = receive<int64_t>(socket);
    if (!n) return false;
    const std::lock_guard lock(mutex_);
    // Whoever counts beyond 2^63 is no rank; it wraps.
    const auto sum =
        static_cast<int64_t>(static_cast<uint64_t>(as_number(values_[*key])) + static_cast<uint64_t>(*n));
    values_[*key] = std::to_string(sum);
    put(reply, sum);
  } else if (operation == kCheck) {
    const auto count = receive<uint64_t>(socket);
    if (!count || *count > kLongest) return false;
    bool all = true;
    for (uint64_t i = 0; i < *count; ++i) {
      const auto key = receive_text(socket);
      if (!key) return false;
      const std::lock_guard lock(mutex_);
      all = all && values_.contains(*key);
    }
    put(reply, static_cast<uint8_t>(all ? 0 : 1));
  } else {
    return false;
  }
  return send_all(socket, reply.data(), reply.size());
}

Store::Store(const std::string& host, int port, const std::string& prefix, std::chrono::milliseconds timeout)
    : where_(fmt::format("{}:{}", host, port)), prefix_(fmt::format("/{}/", prefix)) {
  for (const auto begin = Clock::now(); socket_ < 0; std::this_thread::sleep_for(kPause)) {
    socket_ = connect_to(host, port);
    if (socket_ < 0 && Clock::now() - begin > timeout)
      throw UserError(where_, "rank 0, or torchrun's store, to answer there",
                      fmt::format("nobody for {} s", std::chrono::duration<double>(timeout).count()),
                      "is rank 0 running, and may this machine reach that port?");
  }
  be_quick(socket_);
  std::string message;
  put(message, kValidate);
  put(message, kMagic);
  send_all(socket_, message.data(), message.size());
}

Store::~Store() {
  close(socket_);
}

namespace {

[[noreturn]] void lost(const std::string& where) {
  throw UserError(where, "the store of the ranks", "that it is gone: rank 0 or its launcher has ended");
}

}  // namespace

void Store::set(const std::string& key, const std::string& value) {
  std::string message;
  put(message, kSet);
  put_text(message, prefix_ + key);
  put_text(message, value);
  const std::lock_guard lock(mutex_);
  if (!send_all(socket_, message.data(), message.size())) lost(where_);
}

std::optional<std::string> Store::get(const std::string& key) {
  std::string check, get;
  put(check, kCheck);
  put(check, uint64_t{1});
  put_text(check, prefix_ + key);
  put(get, kGet);
  put_text(get, prefix_ + key);
  const std::lock_guard lock(mutex_);
  if (!send_all(socket_, check.data(), check.size())) lost(where_);
  const auto missing = receive<uint8_t>(socket_);
  if (!missing) lost(where_);
  if (*missing != 0) return std::nullopt;
  if (!send_all(socket_, get.data(), get.size())) lost(where_);
  auto value = receive_text(socket_);
  if (!value) lost(where_);
  return value;
}

std::optional<std::string> Store::wait(const std::string& key, std::chrono::milliseconds timeout) {
  for (const auto begin = Clock::now();;) {
    if (auto value = get(key)) return value;
    if (Clock::now() - begin > timeout) return std::nullopt;
    std::this_thread::sleep_for(kPause);
  }
}

int64_t Store::add(const std::string& key, int64_t n) {
  std::string message;
  put(message, kAdd);
  put_text(message, prefix_ + key);
  put(message, n);
  const std::lock_guard lock(mutex_);
  if (!send_all(socket_, message.data(), message.size())) lost(where_);
  const auto sum = receive<int64_t>(socket_);
  if (!sum) lost(where_);
  return *sum;
}

}  // namespace moe
