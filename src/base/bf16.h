// SPDX-License-Identifier: MIT
// bfloat16 on the host: storage only. Arithmetic is done in float.
#pragma once

#include <bit>
#include <cstdint>

namespace moe {

struct bf16 {
  uint16_t bits = 0;

  bf16() = default;
  // Round to nearest, ties to even; any NaN becomes 7fc0. Whole rows are stored so: to keep a NaN's own bits
  // would cost a vector loop a third of its time.
  explicit bf16(float x) {
    const uint32_t u = std::bit_cast<uint32_t>(x);
    const uint32_t rounded = u + 0x7fffu + ((u >> 16) & 1u);
    bits = static_cast<uint16_t>((x != x ? 0x7fc00000u : rounded) >> 16);
  }
  explicit operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

static_assert(sizeof(bf16) == 2);

}  // namespace moe
