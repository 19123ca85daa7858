// SPDX-License-Identifier: MIT
// Any bytes as what a stranger says to the store of the ranks, and as what a server that is none answers to a
// rank: the connection ends, or a UserError; the store goes on serving others.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <string_view>
#include <thread>

#include "base/error.h"
#include "comm/store.h"

namespace {

constexpr auto kLong = std::chrono::milliseconds(5000);

int connected(int port) {
  const int connection = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in place{};
  place.sin_family = AF_INET;
  place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  place.sin_port = htons(static_cast<uint16_t>(port));
  CHECK(connect(connection, reinterpret_cast<sockaddr*>(&place), sizeof(place)) == 0);
  return connection;
}

void say(int connection, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = send(connection, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) break;  // the other side has had enough
    text.remove_prefix(static_cast<size_t>(sent));
  }
  shutdown(connection, SHUT_WR);
  char answer[4096];
  while (recv(connection, answer, sizeof(answer), 0) > 0) {
  }
  close(connection);
}

// Each time a new one, which is gone at the end: a leak check that comes while its thread allocates takes
// that for a leak, and what an earlier input told it could not be repeated.
void to_a_server(std::string_view text) {
  const moe::comm::StoreServer server(0);
  say(connected(server.port()), text);
  moe::comm::Store store("127.0.0.1", server.port(), "fuzz", kLong);
  store.set("key", "value");
  CHECK(store.get("key") == "value");
}

void to_a_client(std::string_view text) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in place{};
  place.sin_family = AF_INET;
  place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(place);
  CHECK(bind(listener, reinterpret_cast<sockaddr*>(&place), length) == 0 && listen(listener, 4) == 0);
  getsockname(listener, reinterpret_cast<sockaddr*>(&place), &length);
  std::thread impostor([&] {
    const int connection = accept(listener, nullptr, nullptr);
    if (connection >= 0) say(connection, text);
  });
  try {
    moe::comm::Store store("127.0.0.1", ntohs(place.sin_port), "fuzz", kLong);
    store.get("a");
    store.add("b", 1);
    store.set("c", "");
    store.get("d");
  } catch (const moe::UserError&) {
  }
  shutdown(listener, SHUT_RDWR);
  impostor.join();
  close(listener);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  to_a_server(text);
  to_a_client(text);
  return 0;
}
