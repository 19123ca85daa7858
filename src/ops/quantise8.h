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
      if (code < 255 && first_above(map, code) >> kShift == cell + kLowest) {
        set(cell, code, first_above(map, code) & kInside);
        ++code;
      } else {
        set(cell, code, kNever);
      }
    }
  }

  // The same for negative x with the complement of their code: 255 - (254 - code) = code + 1, but at least
  // 129 (a negative value never becomes 0) and at most 255 (-1 has no code of its own).
  static constexpr Quantiser complement_of_negative(const Map& map) {
    Quantiser quantiser(map, 127);
    for (int32_t cell = 0; cell < kCells; ++cell) {
      const int32_t first = quantiser.at(cell, 0), last = quantiser.at(cell, kInside);
      if (first == 127)
        quantiser.set(cell, 129, kNever);
      else if (last == 255)
        quantiser.set(cell, 255, kNever);
      else
        quantiser.entry_[static_cast<size_t>(cell)] += 1U << kShift;
    }
    return quantiser;
  }

  // The code of |x| for |x| <= 1.
  constexpr int32_t operator()(float x) const {
    return static_cast<int32_t>(scaled(within_cells(std::bit_cast<int32_t>(x) & 0x7fffffff)) >> kShift);
  }

  // For bits of floats in [kLeast, 1]: the code is the third byte, the two below it are arbitrary.
  constexpr uint32_t scaled(int32_t bits) const {
    return entry_[static_cast<size_t>((bits >> kShift) - kLowest)] + static_cast<uint32_t>(bits);
  }
  static constexpr float kLeast = 0x1p-23F;  // below every boundary of both maps

 private:
  static constexpr int32_t kShift = 16;       // cells of 7 mantissa bits: 1/256 near 1; codes are 1/142 apart
  static constexpr int32_t kInside = 0xffff;  // the bits below a cell
  static constexpr int32_t kNever = kInside + 1;  // more than any of them
  static constexpr int32_t kLowest = std::bit_cast<int32_t>(kLeast) >> kShift;
  static constexpr int32_t kOne = std::bit_cast<int32_t>(1.0F);
  static constexpr int32_t kCells = (kOne >> kShift) - kLowest + 1;

  // Ternaries, not std::clamp: loops over its references do not vectorise.
  static constexpr int32_t within_cells(int32_t bits) {
    bits = bits < kLowest << kShift ? kLowest << kShift : bits;
    return bits > kOne ? kOne : bits;
  }
  // Numbers of this cell have `code` where the bits inside are below `from`, else the next one. The entry is
  // such that adding all bits of a number, those that name the cell included, carries into the code when they
  // reach `from`.
  constexpr void set(int32_t cell, int32_t code, int32_t from) {
    entry_[static_cast<size_t>(cell)] = (static_cast<uint32_t>(code) << kShift) +
                                        static_cast<uint32_t>(kNever - from) -
                                        (static_cast<uint32_t>(cell + kLowest) << kShift);
  }
  constexpr int32_t at(int32_t cell, int32_t inside) const {
    return static_cast<int32_t>(scaled((cell + kLowest) << kShift | inside) >> kShift);
  }

  // Bits of the smallest float that belongs to code + 1 rather than code.
  static constexpr int32_t first_above(const Map& map, int32_t code) {
    const auto at = static_cast<size_t>(code);
    const auto middle = std::bit_cast<int32_t>((map[at] + map[at + 1]) * 0.5F);
    return code % 2 == 0 ? middle + 1 : middle;
  }

  std::array<uint32_t, kCells> entry_{};
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
