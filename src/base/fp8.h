// SPDX-License-Identifier: MIT
// 8-bit floating point (OCP OFP8, arXiv 2209.05433): storage only, as base/bf16.h. Conversions saturate: they
// never make an infinity. They are constant expressions, so that kernels compile them too.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

namespace moe {

// mantissa: bits of it. largest: the bits of the largest number. log2_largest: its exponent; its mantissa is
// 1.75 in both formats.
struct Fp8Format {
  int mantissa, bias;
  uint32_t largest;
  int log2_largest;
};
inline constexpr Fp8Format kE4M3{3, 7, 0x7e, 8};    // 448; subnormal steps of 2^-9; no infinity
inline constexpr Fp8Format kE5M2{2, 15, 0x7b, 15};  // 57344; subnormal steps of 2^-16

// Round to nearest, ties to even; NaN becomes 7f.
template <Fp8Format format>
constexpr uint8_t fp8_bits(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x), size = u & 0x7fffffffU, sign = u >> 24 & 0x80U;
  if (size > 0x7f800000U) return static_cast<uint8_t>(0x7fU | sign);
  constexpr int shift = 23 - format.mantissa;
  constexpr uint32_t least_normal = static_cast<uint32_t>(128 - format.bias) << 23;
  // In this number plus |x| the last bit counts one subnormal step, so the addition rounds as needed.
  constexpr float steps =
      std::bit_cast<float>(static_cast<uint32_t>(127 + 24 - format.bias - format.mantissa) << 23);
  const uint32_t normal = (size - (static_cast<uint32_t>(127 - format.bias) << 23) +
                           ((1U << (shift - 1)) - 1) + (size >> shift & 1U)) >>
                          shift;
  const uint32_t small =
      std::bit_cast<uint32_t>(std::bit_cast<float>(size) + steps) - std::bit_cast<uint32_t>(steps);
  return static_cast<uint8_t>(std::min(size < least_normal ? small : normal, format.largest) | sign);
}

template <Fp8Format format>
constexpr float fp8_value(uint8_t bits) {
  constexpr int shift = 23 - format.mantissa;
  const uint32_t size = bits & 0x7fU, sign = (bits & 0x80U) << 24;
  if (size > format.largest)  // NaN; of E5M2 infinity too, which nothing here makes
    return std::bit_cast<float>(0x7fc00000U | sign);
  const float step = std::bit_cast<float>(static_cast<uint32_t>(128 - format.bias - format.mantissa) << 23);
  const float value =
      size < (1U << format.mantissa)
          ? static_cast<float>(static_cast<int32_t>(size)) * step
          : std::bit_cast<float>((size << shift) + (static_cast<uint32_t>(127 - format.bias) << 23));
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | sign);
}

// The scale of numbers whose largest size has these bits: the least power of two with which it is
// representable, 1 for zeros, NaN where one of them is not finite. Between 2^-126 and 2^120.
template <Fp8Format format>
constexpr float fp8_scale(uint32_t largest) {
  if (largest == 0) return 1;
  if (largest >= 0x7f800000U) return std::bit_cast<float>(0x7fc00000U);
  const int exponent =
      static_cast<int>(largest >> 23) - format.log2_largest + ((largest & 0x7fffffU) > 0x600000U ? 1 : 0);
  return std::bit_cast<float>(static_cast<uint32_t>(std::max(exponent, 1)) << 23);
}
// 1 / scale, exactly; 1 where it is NaN.
constexpr float fp8_inverse_scale(float scale) {
  return scale != scale ? 1.0F : std::bit_cast<float>((254U << 23) - std::bit_cast<uint32_t>(scale));
}

struct e4m3 {
  uint8_t bits = 0;
  e4m3() = default;
  explicit e4m3(float x) : bits(fp8_bits<kE4M3>(x)) {}
  explicit operator float() const { return fp8_value<kE4M3>(bits); }
};
struct e5m2 {
  uint8_t bits = 0;
  e5m2() = default;
  explicit e5m2(float x) : bits(fp8_bits<kE5M2>(x)) {}
  explicit operator float() const { return fp8_value<kE5M2>(bits); }
};

static_assert(sizeof(e4m3) == 1 && sizeof(e5m2) == 1);

}  // namespace moe
