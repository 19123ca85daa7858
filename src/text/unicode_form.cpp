// SPDX-License-Identifier: MIT
// Form C: most characters are calm: they stay as they are, whatever stands before them. Text is copied but
// for the stretches of others, each with the calm character that it may change. The other forms are rare, and
// take characters apart one by one. libutf8proc decomposes and composes; the order of marks is found here,
// because it moves them one place at a time.
#include "text/unicode_form.h"

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

// Appends the full decomposition. compatible: UTF8PROC_COMPAT, or 0 for the canonical one.
void decompose(int32_t c, std::vector<int32_t>& characters, int compatible = 0) {
  std::array<int32_t, 32> parts;
  int boundary = 0;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | compatible);
  const auto count = utf8proc_decompose_char(c, parts.data(), parts.size(), options, &boundary);
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

// Taken apart. `text` must not lie in `buffer`.
std::string_view decomposed(std::string_view text, int compatible, std::string& buffer) {
  buffer.clear();
  std::vector<int32_t> stretch;  // between two characters of ASCII, which no mark passes
  for (size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      buffer += text[at++];
      continue;
    }
    stretch.clear();
    while (at < text.size() && static_cast<unsigned char>(text[at]) >= 0x80) {
      const CodePoint next = decode_utf8(text.data() + at);
      decompose(static_cast<int32_t>(next.value), stretch, compatible);
      at += static_cast<size_t>(next.length);
    }
    order_marks(stretch);
    for (const int32_t c : stretch) append_utf8(buffer, static_cast<char32_t>(c));
  }
  return buffer;
}

}  // namespace

std::string_view to_form(UnicodeForm form, std::string_view text, std::string& buffer) {
  switch (form) {
    case UnicodeForm::nfc:
      return to_nfc(text, buffer);
    case UnicodeForm::nfd:
      return decomposed(text, 0, buffer);
    case UnicodeForm::nfkd:
      return decomposed(text, UTF8PROC_COMPAT, buffer);
    case UnicodeForm::nfkc: {
      std::string apart;
      const std::string_view composed = to_nfc(decomposed(text, UTF8PROC_COMPAT, apart), buffer);
      if (composed.data() == apart.data()) buffer.swap(apart);
      return buffer;
    }
  }
  CHECK(false, "a form without a rule");
}

std::string_view to_lowercase(std::string_view text, std::string& buffer) {
  buffer.clear();
  for (size_t at = 0; at < text.size();) {
    const CodePoint next = decode_utf8(text.data() + at);
    at += static_cast<size_t>(next.length);
    if (next.value == U'\u0130') {  // the only one whose lower case is two characters
      buffer += "i\u0307";
    } else {
      append_utf8(buffer, static_cast<char32_t>(utf8proc_tolower(static_cast<int32_t>(next.value))));
    }
  }
  return buffer;
}

}  // namespace moe::text
