// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

namespace moe {

// The lowest `bytes` bytes of value, the lowest first.
inline void put_little_endian(std::string& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

}  // namespace moe
