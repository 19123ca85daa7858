// SPDX-License-Identifier: MIT
// Value -> nearest code of an 8-bit map (ops/adamw8_maps.h), without branches: the leading bits of the float
// pick a cell no wider than the distance of two codes, and one comparison inside the cell decides. The result
// is that of bitsandbytes' binary search for every float: the nearest value, an exact tie going to the even
// code. On a GPU the class is used through a copy in the memory of a block.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "ops/adamw8_maps.h"

namespace moe::adamw8 {

class Quantiser {
 public:
  // map from entry `zero` (the value 0) up to entry 255 (the value 1).
  constexpr Quantiser(const Map& map, int32_t zero) {
    int32_t code = zero;
    for (int32_t cell = 0; cell < kCells; ++cell) {
      int32_t& entry = entry_[static_cast<size_t>(cell)];
      entry = code << kCodeShift | kNever;
      if (code == 255) continue;
      const int32_t bits = first_above(map, code);
      if (bits >> kShift != cell + kLowest) continue;
      entry = code << kCodeShift | (bits & kInside);
      ++code;
    }
  }

  // The code of |x| for |x| <= 1. Ternaries, not std::clamp: loops over its references do not vectorise.
  constexpr int32_t operator()(float x) const {
    const int32_t bits = std::bit_cast<int32_t>(x) & 0x7fffffff;
    int32_t cell = (bits >> kShift) - kLowest;
    cell = cell < 0 ? 0 : cell;
    cell = cell >= kCells ? kCells - 1 : cell;
    const int32_t entry = entry_[static_cast<size_t>(cell)];
    return (entry >> kCodeShift) + ((bits & kInside) >= (entry & (kNever | kInside)) ? 1 : 0);
  }

 private:
  static constexpr int32_t kShift = 16;       // cells of 7 mantissa bits: 1/256 near 1; codes are 1/142 apart
  static constexpr int32_t kInside = 0xffff;  // the bits below a cell
  static constexpr int32_t kNever = kInside + 1;  // more than any of them
  static constexpr int32_t kCodeShift = 17;       // an entry: the code, then what the bits inside must reach
  static constexpr int32_t kLowest = 0x3400;      // 2^-23: below every boundary of both maps
  static constexpr int32_t kCells = 0x3f80 - kLowest + 1;  // up to 1.0

  // Bits of the smallest float that belongs to code + 1 rather than code.
  static constexpr int32_t first_above(const Map& map, int32_t code) {
    const auto at = static_cast<size_t>(code);
    const auto middle = std::bit_cast<int32_t>((map[at] + map[at + 1]) * 0.5F);
    return code % 2 == 0 ? middle + 1 : middle;
  }

  std::array<int32_t, kCells> entry_{};
};

inline constexpr Quantiser kQuantiseSigned(kSigned, 127);
inline constexpr Quantiser kQuantiseUnsigned(kUnsigned, 0);

// First moment: the map is symmetric around code 127 but for 1.0, which has no negative. A negative value
// never becomes 0 (bitsandbytes mends the sign of a code that lost it), a positive one may.
constexpr uint8_t code_signed(const Quantiser& quantise, float x) {
  const int32_t code = quantise(x);
  int32_t negative = 254 - code;
  negative = negative < 0 ? 0 : negative;
  negative = negative > 126 ? 126 : negative;
  return static_cast<uint8_t>(std::bit_cast<int32_t>(x) < 0 ? negative : code);
}

// Second moment, never negative.
constexpr uint8_t code_unsigned(const Quantiser& quantise, float x) {
  return static_cast<uint8_t>(quantise(x));
}

}  // namespace moe::adamw8
