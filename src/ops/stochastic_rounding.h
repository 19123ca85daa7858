// SPDX-License-Identifier: MIT
// Rounding to bf16 up or down at random, so that the mean of many roundings is the number itself and updates
// far below half a unit in the last place are not lost. The random bits are a function of (seed, tensor,
// step, element): the same on every device, for any number of threads and any division of a tensor into
// pieces, and after a resume.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "base/random.h"
#include "ops/ops.h"

namespace moe {

class StochasticRounding {
 public:
  static constexpr int64_t kBlock = 256, kHalf = kBlock / 2;
  // One draw of Philox (128 bits) has 16 bits for each of eight elements: i to i + 3 and i + 128 to i + 131,
  // which one thread of a GPU has at once.
  using Bits = std::array<uint32_t, 4>;

  // options: AdamW, or another struct with its seed, stream, step and first.
  template <class Options>
  constexpr explicit StochasticRounding(const Options& options)
      : key_{low(options.seed), high(options.seed)},
        stream_{low(options.stream), high(options.stream)},
        step_(static_cast<uint32_t>(options.step)),
        first_(options.first) {}

  // For i with i % 4 == 0 and i % 256 < 128, an index into the tensor at hand.
  constexpr Bits draw(int64_t i) const {
    const int64_t group = (first_ + i) / kBlock * (kBlock / 8) + i % kHalf / 4;
    return philox({static_cast<uint32_t>(group), step_, stream_[0], stream_[1]}, key_);
  }
  // The bits of element i + 128 * half + j, j < 4.
  static constexpr uint32_t of(const Bits& bits, int half, int j) {
    return bits[2 * static_cast<size_t>(half) + static_cast<size_t>(j) / 2] >> (j % 2 * 16) & 0xffffU;
  }
  // The bf16 below or above |x|: above when the part that does not fit, plus a random one, carries. What bf16
  // can hold stays as it is, and so do infinity and NaN.
  static constexpr uint16_t round(float x, uint32_t random) {
    const auto u = std::bit_cast<uint32_t>(x);
    const bool finite = (u & 0x7f800000U) != 0x7f800000U;
    const bool nan = (u & 0x7fffffffU) > 0x7f800000U;
    return static_cast<uint16_t>(finite ? (u + random) >> 16 : u >> 16 | (nan ? 0x40U : 0U));
  }

 private:
  static constexpr uint32_t low(uint64_t x) { return static_cast<uint32_t>(x); }
  static constexpr uint32_t high(uint64_t x) { return static_cast<uint32_t>(x >> 32); }

  std::array<uint32_t, 2> key_, stream_;
  uint32_t step_;
  int64_t first_;
};

}  // namespace moe
