// SPDX-License-Identifier: MIT
// UTF-8: code points to bytes and back, and the repair of text that may not be well-formed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace moe {

struct CodePoint {
  char32_t value;
  int length;  // in bytes, 1 to 4
};

// The code point at `text`, which must be the start of a well-formed sequence.
inline CodePoint decode_utf8(const char* text) {
  const auto byte = [text](int i) { return static_cast<char32_t>(static_cast<unsigned char>(text[i])); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F), 4};
}

// Whether the byte belongs to a sequence that began before it.
inline bool is_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

// A code point that is not a surrogate, at most U+10FFFF.
void append_utf8(std::string& text, char32_t code_point);

// The length of the longest well-formed start of `text` (Unicode 16.0, table 3-7).
size_t well_formed_prefix(std::string_view text);

// Bytes at the end of `text` that may be the beginning of a character whose other bytes are to come; 0 to 3.
size_t begun_utf8(std::string_view text);

struct Replacement {
  size_t end;      // of the U+FFFD, in the repaired text
  int32_t excess;  // bytes that it has more than what it stands for
};

// Copies `text` to `repaired` with each maximal subpart of an ill-formed sequence (section 3.9, "U+FFFD
// Substitution of Maximal Subparts") replaced by U+FFFD. Returns the number of replacements, and which they
// are in `replacements`, if that is not null.
uint64_t repair_utf8(std::string_view text, std::string& repaired,
                     std::vector<Replacement>* replacements = nullptr);

}  // namespace moe
