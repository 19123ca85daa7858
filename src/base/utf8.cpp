// SPDX-License-Identifier: MIT
// Table 3-7 of the Unicode Standard as code: what may follow each lead byte.
#include "base/utf8.h"

#include <algorithm>
#include <cstring>

namespace moe {
namespace {

struct Sequence {
  int length;  // of the well-formed sequence, or of the maximal subpart of an ill-formed one; at least 1
  bool well_formed;
};

Sequence read_sequence(const char* text, const char* end) {
  const auto lead = static_cast<unsigned char>(*text);
  if (lead < 0x80) return {1, true};
  if (lead < 0xC2 || lead > 0xF4) return {1, false};
  const int length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // Only the second byte's range depends on the lead: no overlong forms, no surrogates, nothing past 10FFFF.
  unsigned char low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  for (int i = 1; i < length; ++i) {
    if (text + i == end) return {i, false};
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < low || byte > high) return {i, false};
    low = 0x80;
    high = 0xBF;
  }
  return {length, true};
}

const char* skip_ascii(const char* text, const char* end) {
  constexpr uint64_t kHighBits = 0x8080808080808080u;
  constexpr ptrdiff_t kStep = 4 * sizeof(uint64_t);
  while (end - text >= kStep) {
    uint64_t words[4];
    std::memcpy(words, text, sizeof(words));
    if (((words[0] | words[1] | words[2] | words[3]) & kHighBits) != 0) break;
    text += kStep;
  }
  while (text != end && static_cast<unsigned char>(*text) < 0x80) ++text;
  return text;
}

}  // namespace

void append_utf8(std::string& text, char32_t code_point) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | (code_point >> shift & 0x3F)); };
  const auto lead = [&](unsigned mark, int shift) { return static_cast<char>(mark | code_point >> shift); };
  if (code_point < 0x80)
    text += static_cast<char>(code_point);
  else if (code_point < 0x800)
    text += {lead(0xC0, 6), tail(0)};
  else if (code_point < 0x10000)
    text += {lead(0xE0, 12), tail(6), tail(0)};
  else
    text += {lead(0xF0, 18), tail(12), tail(6), tail(0)};
}

size_t well_formed_prefix(std::string_view text) {
  const char* const end = text.data() + text.size();
  const char* at = skip_ascii(text.data(), end);
  while (at != end) {
    const Sequence sequence = read_sequence(at, end);
    if (!sequence.well_formed) break;
    at += sequence.length;
    // Scripts other than Latin go on without ASCII; look for a stretch of it only where one begins.
    if (at != end && static_cast<unsigned char>(*at) < 0x80) at = skip_ascii(at, end);
  }
  return static_cast<size_t>(at - text.data());
}

size_t begun_utf8(std::string_view text) {
  const char* const end = text.data() + text.size();
  for (size_t n = 1; n <= std::min<size_t>(3, text.size()); ++n) {
    if (is_continuation(end[-static_cast<ptrdiff_t>(n)])) continue;
    const auto lead = static_cast<unsigned char>(end[-static_cast<ptrdiff_t>(n)]);
    const Sequence sequence = read_sequence(end - n, end);
    const bool whole_so_far = static_cast<size_t>(sequence.length) == n;
    return lead >= 0xC2 && lead <= 0xF4 && !sequence.well_formed && whole_so_far ? n : 0;
  }
  return 0;
}

uint64_t repair_utf8(std::string_view text, std::string& repaired, std::vector<Replacement>* replacements) {
  constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
  repaired.clear();
  uint64_t replaced = 0;
  while (true) {
    const size_t good = well_formed_prefix(text);
    repaired.append(text.substr(0, good));
    text.remove_prefix(good);
    if (text.empty()) return replaced;
    repaired.append(kReplacement);
    const int length = read_sequence(text.data(), text.data() + text.size()).length;
    text.remove_prefix(static_cast<size_t>(length));
    if (replacements != nullptr)
      replacements->push_back({repaired.size(), static_cast<int32_t>(kReplacement.size()) - length});
    ++replaced;
  }
}

}  // namespace moe
