// SPDX-License-Identifier: MIT
// The numbers of TCPStore's protocol, and those that our own ranks use. Little-endian; a text is its length
// in 8 bytes, then its bytes; operations begin with one byte.
#pragma once

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>

namespace moe::comm::store_protocol {

inline constexpr uint8_t kValidate = 0, kSet = 1, kGet = 3, kAdd = 4, kCheck = 5, kPing = 13;
inline constexpr uint32_t kMagic = 0x3C85F7CE;
inline constexpr uint64_t kLongest = 1 << 20;  // of a text: a larger one is not from a rank

template <class T>
void put(std::string& message, const T& value) {
  message.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

inline void put_text(std::string& message, const std::string& text) {
  put(message, uint64_t{text.size()});
  message += text;
}

// A message goes at once.
inline void be_quick(int socket) {
  const int yes = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

}  // namespace moe::comm::store_protocol
