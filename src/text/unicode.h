// SPDX-License-Identifier: MIT
// The four classes of characters that GPT-2's pre-tokenizer tells apart, for Unicode 16.0.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace moe::text {

// Letter: general category L. Number: general category N. Space: the property White_Space. Other: the rest,
// with surrogates and unassigned code points.
enum class CharacterClass : uint8_t { kOther = 0, kLetter = 1, kNumber = 2, kSpace = 3 };

// Two-stage table (about 40 KB): pages of 256 code points, equal pages stored once.
class UnicodeClasses {
 public:
  // The one table, made at the first call.
  static const UnicodeClasses& instance();

  // code_point < 0x110000.
  CharacterClass operator()(char32_t code_point) const {
    return pages_[page_of_[code_point >> 8]][code_point & 0xff];
  }

 private:
  using Page = std::array<CharacterClass, 256>;

  UnicodeClasses();

  std::array<uint8_t, 0x1100> page_of_;
  std::vector<Page> pages_;
};

}  // namespace moe::text
