// SPDX-License-Identifier: MIT
// The classes of characters that the patterns of tokenizers tell apart, for Unicode 16.0.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace moe::text {

// General categories, but for the last two: the property White_Space. Other: the rest, with surrogates and
// unassigned code points.
enum class CharacterClass : uint8_t {
  kOther,
  kUpper,        // Lu, Lt
  kLower,        // Ll
  kAlike,        // Lm, Lo: letters without case
  kMark,         // M
  kNumber,       // N
  kPunctuation,  // P, S
  kSpace,        // white space but the next
  kNewline,      // U+000A, U+000D
};

// A set of classes: one bit for each.
using CharacterClasses = uint32_t;
constexpr CharacterClasses classes_of(auto... each) {
  return ((1u << static_cast<int>(each)) | ...);
}
constexpr CharacterClasses kLetters =
    classes_of(CharacterClass::kUpper, CharacterClass::kLower, CharacterClass::kAlike);
constexpr CharacterClasses kNumbers = classes_of(CharacterClass::kNumber);
constexpr CharacterClasses kWhite = classes_of(CharacterClass::kSpace, CharacterClass::kNewline);

// Two-stage table (about 45 KB): pages of 256 code points, equal pages stored once.
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
