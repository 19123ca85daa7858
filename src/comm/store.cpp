// SPDX-License-Identifier: MIT
// What a rank says to the store; comm/store_server.cpp answers.
#include "comm/store.h"

#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "base/error.h"
#include "comm/store_protocol.h"

namespace moe::comm {
namespace {

using Clock = std::chrono::steady_clock;

using namespace store_protocol;

constexpr timeval kSilence{.tv_sec = 120,
                           .tv_usec = 0};  // a store answers in milliseconds, if its machine is there
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
    setsockopt(candidate, SOL_SOCKET, SO_RCVTIMEO, &kSilence, sizeof(kSilence));
    setsockopt(candidate, SOL_SOCKET, SO_SNDTIMEO, &kSilence, sizeof(kSilence));
    if (connect(candidate, address->ai_addr, address->ai_addrlen) == 0) return candidate;
    close(candidate);
  }
  return -1;
}

}  // namespace

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

}  // namespace moe::comm
