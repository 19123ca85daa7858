// SPDX-License-Identifier: MIT
// Most characters are calm: they stay as they are, whatever stands before them. Text is copied but for the
// stretches of others, each with the calm character that it may change. libutf8proc decomposes and composes;
// the order of marks is found here, because it moves them one place at a time.
#include "text/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"

namespace moe::text {
namespace {

constexpr char32_t kFirstRestless = 0x300, kEnd = 0x30000;  // those outside are calm

int combining_class(int32_t c) {
  return utf8proc_get_property(c)->combining_class;
}

// Appends the full canonical decomposition.
void decompose(int32_t c, std::vector<int32_t>& characters) {
  std::array<int32_t, 16> parts;
  int boundary = 0;
  const auto count = utf8proc_decompose_char(c, parts.data(), parts.size(),
                                             static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE), &boundary);
  CHECK(count > 0 && static_cast<size_t>(count) <= parts.size());
  characters.insert(characters.end(), parts.begin(), parts.begin() + count);
}

void compose(std::vector<int32_t>& characters) {
  const auto left =
      utf8proc_normalize_utf32(characters.data(), static_cast<utf8proc_ssize_t>(characters.size()),
                               static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  CHECK(left >= 0);
  characters.resize(static_cast<size_t>(left));
}

class CalmCharacters {
 public:
  static const CalmCharacters& instance() {
    static const CalmCharacters characters;
    return characters;
  }
  bool has(char32_t c) const { return c < kFirstRestless || c >= kEnd || !(*restless_)[c]; }

 private:
  CalmCharacters() : restless_(std::make_unique<std::bitset<kEnd>>()) {
    std::vector<int32_t> parts;
    for (char32_t c = kFirstRestless; c < kEnd; ++c) {
      if (c >= 0xAC00 && c <= 0xDFFF) continue;  // Hangul's syllables, which are calm, and surrogates
      const auto character = static_cast<int32_t>(c);
      parts.clear();
      decompose(character, parts);
      // What may be the second part of another character.
      for (size_t i = 1; i < parts.size(); ++i) restless_->set(static_cast<size_t>(parts[i]));
      compose(parts);
      if (combining_class(character) != 0 || parts.size() != 1 || parts.front() != character) {
        restless_->set(c);
      }
    }
    for (char32_t c = 0x1161; c <= 0x1175; ++c) restless_->set(c);  // Hangul's vowels
    for (char32_t c = 0x11A8; c <= 0x11C2; ++c) restless_->set(c);  // and what ends a syllable
  }

  std::unique_ptr<std::bitset<kEnd>> restless_;
};

// Marks in order of their classes, those of one class as they stood.
void order_marks(std::vector<int32_t>& characters) {
  const auto is_mark = [](int32_t c) { return combining_class(c) != 0; };
  for (auto begin = characters.begin(); begin != characters.end();) {
    begin = std::find_if(begin, characters.end(), is_mark);
    const auto end = std::find_if_not(begin, characters.end(), is_mark);
    std::stable_sort(begin, end,
                     [](int32_t a, int32_t b) { return combining_class(a) < combining_class(b); });
    begin = end;
  }
}

// Appends to `stretch` the form C of the characters from `begin` up to the first calm one behind `restless`.
// Returns where that one begins.
size_t compose_stretch(std::string_view text, size_t begin, size_t restless, const CalmCharacters& calm,
                       std::vector<int32_t>& stretch) {
  stretch.clear();
  size_t end = begin;
  while (end < text.size()) {
    const CodePoint next = decode_utf8(text.data() + end);
    if (end > restless && calm.has(next.value)) break;
    decompose(static_cast<int32_t>(next.value), stretch);
    end += static_cast<size_t>(next.length);
  }
  order_marks(stretch);
  compose(stretch);
  return end;
}

}  // namespace

std::string_view to_nfc(std::string_view text, std::string& buffer) {
  const CalmCharacters& calm = CalmCharacters::instance();
  buffer.clear();
  std::vector<int32_t> stretch;
  size_t copied = 0;                                  // up to here `text` is in the buffer
  for (size_t at = 0, last = 0; at < text.size();) {  // last: the character before, if it is not copied
    const auto byte = static_cast<unsigned char>(text[at]);
    const CodePoint found = byte < 0xCC ? CodePoint{0, 1} : decode_utf8(text.data() + at);
    if (calm.has(found.value)) {
      last = at;
      at += static_cast<size_t>(found.length);
      continue;
    }
    while (last > copied && is_continuation(text[last])) --last;
    at = compose_stretch(text, last, at, calm, stretch);
    buffer.append(text.substr(copied, last - copied));
    for (const int32_t c : stretch) append_utf8(buffer, static_cast<char32_t>(c));
    copied = last = at;
  }
  if (copied == 0) return text;
  buffer.append(text.substr(copied));
  return buffer;
}

}  // namespace moe::text
