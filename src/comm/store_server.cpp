// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/start_thread.h"
#include "comm/store.h"
#include "comm/store_protocol.h"

namespace moe::comm {
namespace {

using namespace store_protocol;

constexpr size_t kPiece = size_t{64} << 10;  // bytes received at once
constexpr int kLook = 100;                   // milliseconds between two looks at whether the server ends
constexpr std::chrono::seconds kHearing(1);  // a rank speaks as soon as it is there
constexpr uint64_t kMostKeys = 1024;         // in one question

// A message as far as it has come. Each read gives nothing when more must come first, or when it is none of
// the protocol.
class Message {
 public:
  explicit Message(std::string_view bytes) : rest_(bytes), size_(bytes.size()) {}

  template <class T>
  std::optional<T> number() {
    T value{};
    if (rest_.size() < sizeof(value)) return std::nullopt;
    std::memcpy(&value, rest_.data(), sizeof(value));
    rest_.remove_prefix(sizeof(value));
    return value;
  }
  std::optional<std::string> text() {
    const auto size = number<uint64_t>();
    if (size && *size > kLongest) wrong_ = true;
    if (!size || wrong_ || rest_.size() < *size) return std::nullopt;
    std::string text(rest_.substr(0, *size));
    rest_.remove_prefix(*size);
    return text;
  }
  size_t used() const { return size_ - rest_.size(); }
  bool wrong() const { return wrong_; }
  void refuse() { wrong_ = true; }

 private:
  std::string_view rest_;
  size_t size_;
  bool wrong_ = false;
};

int64_t as_number(const std::string& text) {
  int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// The table that one message asks or changes.
struct Table {
  std::map<std::string, std::string>& values;
  size_t& bytes;

  // False: there is no room.
  bool set(const std::string& key, std::string value) {
    const auto known = values.find(key);
    const size_t before = known == values.end() ? 0 : key.size() + known->second.size();
    const size_t after = bytes - before + key.size() + value.size();
    if (after > StoreServer::kMostBytes) return false;
    bytes = after;
    values[key] = std::move(value);
    return true;
  }
};

// The answer to a whole message; nothing while it is not whole, and where message.wrong() says so.
std::optional<std::string> answer(Message& message, Table table, bool& known) {
  const auto operation = message.number<uint8_t>();
  if (!operation) return std::nullopt;
  std::string reply;
  if (*operation == kValidate) {
    const auto magic = message.number<uint32_t>();
    if (!magic) return std::nullopt;
    known = *magic == kMagic;
    if (!known) message.refuse();
    return reply;
  }
  if (!known) {  // all clients begin with it
    message.refuse();
  } else if (*operation == kPing) {
    const auto nonce = message.number<uint32_t>();
    if (!nonce) return std::nullopt;
    put(reply, *nonce);
  } else if (*operation == kSet) {
    const auto key = message.text();
    auto value = key ? message.text() : std::nullopt;
    if (!value) return std::nullopt;
    if (!table.set(*key, std::move(*value))) message.refuse();
  } else if (*operation == kGet) {
    const auto key = message.text();
    if (!key) return std::nullopt;
    const auto found = table.values.find(*key);
    if (found == table.values.end())
      message.refuse();  // clients look first
    else
      put_text(reply, found->second);
  } else if (*operation == kAdd) {
    const auto key = message.text();
    const auto n = key ? message.number<int64_t>() : std::nullopt;
    if (!n) return std::nullopt;
    const auto found = table.values.find(*key);
    const auto before = static_cast<uint64_t>(found == table.values.end() ? 0 : as_number(found->second));
    const auto sum =
        static_cast<int64_t>(before + static_cast<uint64_t>(*n));  // wraps; it is the client's number
    if (!table.set(*key, std::to_string(sum))) message.refuse();
    put(reply, sum);
  } else if (*operation == kCheck) {
    const auto count = message.number<uint64_t>();
    if (count && *count > kMostKeys) message.refuse();
    bool all = true;
    for (uint64_t i = 0; count && i < *count && !message.wrong(); ++i) {
      const auto key = message.text();
      if (!key) return std::nullopt;
      all = all && table.values.contains(*key);
    }
    if (!count) return std::nullopt;
    put(reply, static_cast<uint8_t>(all ? 0 : 1));
  } else {
    message.refuse();
  }
  return reply;
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
  fcntl(listener_, F_SETFL, O_NONBLOCK);
  try {
    thread_ = start_thread([this] { run(); });
  } catch (...) {
    close(listener_);
    throw;
  }
}

StoreServer::~StoreServer() {
  stopping_ = true;
  shutdown(listener_, SHUT_RDWR);
  thread_.join();
  for (Client& client : clients_) end(client);
  close(listener_);
}

void StoreServer::run() {
  bool room = true;  // for another descriptor
  std::vector<pollfd> sockets;
  while (!stopping_) {
    sockets.assign({{listener_, static_cast<short>(room ? POLLIN : 0), 0}});
    for (const Client& client : clients_)
      sockets.push_back(
          {client.socket, static_cast<short>(client.out.empty() ? POLLIN : POLLIN | POLLOUT), 0});
    poll(sockets.data(), sockets.size(), kLook);
    for (size_t i = 0; i < clients_.size(); ++i)
      if (sockets[i + 1].revents != 0 && !serve(clients_[i])) end(clients_[i]);
    std::erase_if(clients_, [](const Client& client) { return client.socket < 0; });
    room = accept_all();
  }
}

void StoreServer::end(Client& client) {
  if (client.socket >= 0) close(std::exchange(client.socket, -1));
}

// Takes in who waits at the door; false when there is no place: then the next look is soon enough.
bool StoreServer::accept_all() {
  for (;;) {
    if (strangers() >= kStrangers && !drop_stranger()) return false;
    const int socket = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (socket >= 0) {
      be_quick(socket);
      clients_.push_back({.socket = socket, .since = std::chrono::steady_clock::now()});
      continue;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      if (!drop_stranger()) return false;
      continue;
    }
    if (errno != EINTR && errno != ECONNABORTED) return true;
  }
}

size_t StoreServer::strangers() const {
  return static_cast<size_t>(
      std::count_if(clients_.begin(), clients_.end(), [](const Client& client) { return !client.known; }));
}

// The oldest, if it has had its time to speak.
bool StoreServer::drop_stranger() {
  const auto oldest =
      std::find_if(clients_.begin(), clients_.end(), [](const Client& client) { return !client.known; });
  if (oldest == clients_.end() || std::chrono::steady_clock::now() - oldest->since < kHearing) return false;
  end(*oldest);
  clients_.erase(oldest);
  return true;
}

// Takes what has come and sends what has to go. False: the connection is at its end.
bool StoreServer::serve(Client& client) {
  char piece[kPiece];
  const ssize_t received = recv(client.socket, piece, sizeof(piece), 0);
  if (received == 0 || (received < 0 && errno != EAGAIN && errno != EINTR)) return false;
  if (received > 0) client.in.append(piece, static_cast<size_t>(received));
  size_t used = 0;
  while (used < client.in.size()) {
    Message message(std::string_view(client.in).substr(used));
    const auto reply = answer(message, {values_, bytes_}, client.known);
    // No message is longer than two texts and a little; keys that are asked for in one are few.
    if (message.wrong() || client.in.size() - used > 3 * kLongest || client.out.size() > 2 * kLongest)
      return false;
    if (!reply) break;
    client.out += *reply;
    used += message.used();
  }
  client.in.erase(0, used);
  while (!client.out.empty()) {
    const ssize_t sent = send(client.socket, client.out.data(), client.out.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return errno == EAGAIN;
    client.out.erase(0, static_cast<size_t>(sent));
  }
  return true;
}

}  // namespace moe::comm
