// SPDX-License-Identifier: MIT
// IEEE 754 half precision on the host: storage only, as base/bf16.h. Neither g++ 12 nor clang 14 has _Float16
// on every processor, so the bits are converted here, without branches, so that loops over these become
// vector code.
#pragma once

#include <bit>
#include <cstdint>

namespace moe {

// 1 bit of sign, 5 of exponent, 10 of mantissa: 65504 is the largest, 2^-14 the least normal, 2^-24 the least
// number.
struct f16 {
  uint16_t bits = 0;

  f16() = default;
  // Round to nearest, ties to even; from 65520 on infinity; NaN stays NaN.
  explicit f16(float x) {
    const uint32_t u = std::bit_cast<uint32_t>(x), size = u & 0x7fffffffU;
    // Normal results: the exponent's offset goes from 127 to 15 and 13 bits are rounded off; a carry may
    // reach infinity.
    const uint32_t normal = (size - (112U << 23) + 0xfffU + ((size >> 13) & 1U)) >> 13;
    // Subnormal ones: in 0.5 + |x| the last bit counts 2^-24, so this addition rounds as needed.
    const uint32_t small = std::bit_cast<uint32_t>(std::bit_cast<float>(size) + 0.5F) - (126U << 23);
    const uint32_t nan = 0x7e00U | ((size >> 13) & 0x1ffU);
    uint32_t result = size < (113U << 23) ? small : normal;
    result = size >= (143U << 23) ? 0x7c00U : result;
    result = size > 0x7f800000U ? nan : result;
    bits = static_cast<uint16_t>(result | ((u >> 16) & 0x8000U));
  }
  explicit operator float() const {
    const uint32_t size = bits & 0x7fffU;
    const uint32_t normal = (size << 13) + (112U << 23);  // infinity and NaN move up once more
    const float small = static_cast<float>(static_cast<int32_t>(size)) * 0x1p-24F;
    uint32_t result = size < 0x400U ? std::bit_cast<uint32_t>(small) : normal;
    result = size >= 0x7c00U ? normal + (112U << 23) : result;
    return std::bit_cast<float>(result | (uint32_t{bits} & 0x8000U) << 16);
  }
};

static_assert(sizeof(f16) == 2);

}  // namespace moe
