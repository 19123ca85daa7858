// SPDX-License-Identifier: MIT
// SHA-256 (FIPS 180-4), to hold tables of bytes against hashes published by others.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <string>
#include <vector>

namespace moe::test {

// First 32 bits of the fractional part of the root-th root (2 or 3) of the i-th prime.
inline uint32_t root_of_prime(int i, bool cube) {
  int prime = 1;
  for (int found = -1; found < i;) {
    ++prime;
    bool composite = false;
    for (int d = 2; d * d <= prime; ++d) composite |= prime % d == 0;
    found += composite ? 0 : 1;
  }
  // The largest x with (x / 2^32)^p <= prime, by bisection in whole numbers of 32.32 bits, long double
  // products.
  uint64_t low = 0, high = uint64_t{32} << 32;
  while (high - low > 1) {
    const uint64_t middle = (low + high) / 2;
    const long double x = static_cast<long double>(middle) / 4294967296.0L;
    ((cube ? x * x * x : x * x) <= static_cast<long double>(prime) ? low : high) = middle;
  }
  return static_cast<uint32_t>(low);
}

inline std::string sha256(std::vector<uint8_t> bytes) {
  std::array<uint32_t, 8> hash{};
  std::array<uint32_t, 64> k{};
  for (int i = 0; i < 8; ++i) hash[static_cast<size_t>(i)] = root_of_prime(i, false);
  for (int i = 0; i < 64; ++i) k[static_cast<size_t>(i)] = root_of_prime(i, true);
  const uint64_t bits = bytes.size() * 8;
  bytes.push_back(0x80);
  while (bytes.size() % 64 != 56) bytes.push_back(0);
  for (int shift = 56; shift >= 0; shift -= 8) bytes.push_back(static_cast<uint8_t>(bits >> shift));
  for (size_t at = 0; at < bytes.size(); at += 64) {
    std::array<uint32_t, 64> w{};
    for (size_t i = 0; i < 64; ++i) w[i / 4] = w[i / 4] << 8 | bytes[at + i];
    for (size_t i = 16; i < 64; ++i) {
      const uint32_t a = w[i - 15], b = w[i - 2];
      w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) + w[i - 7] +
             (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
    }
    auto h = hash;
    for (size_t i = 0; i < 64; ++i) {
      const uint32_t e = h[4], a = h[0];
      const uint32_t t1 = h[7] + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) +
                          ((e & h[5]) ^ (~e & h[6])) + k[i] + w[i];
      const uint32_t t2 =
          (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & h[1]) ^ (a & h[2]) ^ (h[1] & h[2]));
      h = {t1 + t2, a, h[1], h[2], h[3] + t1, e, h[5], h[6]};
    }
    for (size_t i = 0; i < 8; ++i) hash[i] += h[i];
  }
  std::string text;
  for (const uint32_t word : hash)
    for (int shift = 28; shift >= 0; shift -= 4) text += "0123456789abcdef"[word >> shift & 15];
  return text;
}

}  // namespace moe::test
