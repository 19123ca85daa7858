// SPDX-License-Identifier: MIT
// SHA-256 in lower-case hexadecimal, to hold bytes against hashes published by others.
#pragma once

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <cstddef>
#include <string>

#include "base/error.h"

namespace moe::test {

// Of the container's elements, as they lie in memory.
template <class Bytes>
std::string sha256(const Bytes& bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  CHECK(EVP_Digest(bytes.data(), bytes.size() * sizeof(bytes[0]), digest.data(), &size, EVP_sha256(),
                   nullptr) == 1);
  std::string text;
  for (unsigned i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

}  // namespace moe::test
