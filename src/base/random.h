// SPDX-License-Identifier: MIT
// Counter-based random numbers: a value is a pure function of (seed, stream, index), so it is the same on
// every device, thread count and world size, and "random state" in a checkpoint is just the seed and a
// counter. Philox4x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once

#include <array>
#include <cstdint>
#include <numbers>
#include <string_view>
#include <vector>

namespace moe {

constexpr std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

// FNV-1a, 64 bits: names a stream by what it is for ("init/embedding.weight", "data/windows").
constexpr uint64_t stream_id(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  return hash;
}

// What Random makes its numbers of.
constexpr std::array<uint32_t, 4> random_block(uint64_t seed, uint64_t stream, uint64_t index) {
  return philox({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                 static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)},
                {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
}

// Standard normal (Box-Muller). Math: sqrt, log and cos of f64, as the processor at hand has them.
template <class Math>
constexpr double normal_of(const std::array<uint32_t, 4>& block, const Math& math) {
  const double u = (static_cast<double>(block[0]) + 1.0) * 0x1.0p-32;  // (0, 1]: the logarithm is finite
  const double v = static_cast<double>(block[1]) * 0x1.0p-32;
  return math.sqrt(-2.0 * math.log(u)) * math.cos(2.0 * std::numbers::pi * v);
}

// A random-access sequence of random numbers.
class Random {
 public:
  Random(uint64_t seed, uint64_t stream) : seed_(seed), stream_(stream) {}
  Random(uint64_t seed, std::string_view stream) : Random(seed, stream_id(stream)) {}

  // 64 random bits for this index.
  uint64_t bits(uint64_t index) const;
  // In [0, 1), 24 bits of precision.
  float uniform(uint64_t index) const;
  // In [0, n), n >= 1; unbiased to 2^-64 * n.
  uint64_t below(uint64_t index, uint64_t n) const;
  // Standard normal, same value on every machine with a correctly rounded libm to within one ulp.
  float normal(uint64_t index) const;
  // A uniformly random order of 0 ... n-1 (Fisher-Yates over this stream).
  std::vector<uint32_t> permutation(uint32_t n) const;

 private:
  std::array<uint32_t, 4> block(uint64_t index) const { return random_block(seed_, stream_, index); }
  uint64_t seed_, stream_;
};

}  // namespace moe
