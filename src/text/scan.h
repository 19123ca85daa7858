// SPDX-License-Identifier: MIT
// What the patterns of tokenizers are made of: the class of a character, runs of classes, contractions and
// white space. A scan of well-formed UTF-8 up to an end, which counts as the end of the text.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/utf8.h"
#include "text/unicode.h"

namespace moe::text {

class Scan {
 public:
  explicit Scan(std::string_view text) : text_(text), unicode_(UnicodeClasses::instance()) {}

  size_t size() const { return text_.size(); }
  // The byte at `at`, 0 at the end.
  char byte(size_t at) const { return at < text_.size() ? text_[at] : '\0'; }
  // The class of the character at `at`, as a set of one; empty at the end.
  CharacterClasses classes(size_t at) const {
    if (at >= text_.size()) return 0;
    const auto first = static_cast<unsigned char>(text_[at]);
    if (first < 0x80) return kAscii[first];
    return classes_of(unicode_(decode_utf8(text_.data() + at).value));
  }
  // Behind the character at `at`, which is not the end.
  size_t after(size_t at) const {
    const auto first = static_cast<unsigned char>(text_[at]);
    return at + (first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4);
  }
  char32_t code_point(size_t at) const { return decode_utf8(text_.data() + at).value; }

  // Behind the longest run of `set` from `at` on.
  size_t run(size_t at, CharacterClasses set) const {
    while ((classes(at) & set) != 0) at = after(at);
    return at;
  }
  // The same for at most `count` characters.
  size_t run(size_t at, CharacterClasses set, int count) const {
    while (count-- > 0 && (classes(at) & set) != 0) at = after(at);
    return at;
  }

  // Behind 's 't 'm 'd 're 've 'll at `at`, in whatever case if `any_case` (then U+017F is an s); `at` where
  // there is none.
  size_t contraction(size_t at, bool any_case) const {
    return byte(at) == '\'' ? behind_apostrophe(at, any_case) : at;
  }
  // Behind the piece of white space at `at`, where the pattern ends in \s*[\r\n]+|\s+(?!\S)|\s+ (`newlines`)
  // or only in the last two: up to the last newline, or to the end, or before the last character.
  size_t white(size_t at, bool newlines) const;

 private:
  static constexpr std::array<CharacterClasses, 128> kAscii = [] {
    std::array<CharacterClasses, 128> table{};
    for (size_t i = 0; i < table.size(); ++i) {
      const bool digit = i >= '0' && i <= '9', upper = i >= 'A' && i <= 'Z', lower = i >= 'a' && i <= 'z';
      table[i] = classes_of(i == '\r' || i == '\n'                 ? CharacterClass::kNewline
                            : i == ' ' || (i >= '\t' && i <= '\r') ? CharacterClass::kSpace
                            : i < ' ' || i == 0x7f                 ? CharacterClass::kOther
                            : digit                                ? CharacterClass::kNumber
                            : upper                                ? CharacterClass::kUpper
                            : lower                                ? CharacterClass::kLower
                                                                   : CharacterClass::kPunctuation);
    }
    return table;
  }();

  size_t behind_apostrophe(size_t at, bool any_case) const;

  std::string_view text_;
  const UnicodeClasses& unicode_;
};

}  // namespace moe::text
