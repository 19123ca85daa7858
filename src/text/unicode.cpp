// SPDX-License-Identifier: MIT
// Unfolds the runs of unicode_table.inc into pages.
#include "text/unicode.h"

#include <algorithm>
#include <map>

#include "base/error.h"

namespace moe::text {
namespace {

struct Run {
  char32_t first, last;
  CharacterClass character_class;
};

constexpr CharacterClass U = CharacterClass::kUpper;
constexpr CharacterClass L = CharacterClass::kLower;
constexpr CharacterClass A = CharacterClass::kAlike;
constexpr CharacterClass M = CharacterClass::kMark;
constexpr CharacterClass N = CharacterClass::kNumber;
constexpr CharacterClass P = CharacterClass::kPunctuation;
constexpr CharacterClass S = CharacterClass::kSpace;
constexpr CharacterClass R = CharacterClass::kNewline;

constexpr Run kRuns[] = {
#include "text/unicode_table.inc"
};

}  // namespace

const UnicodeClasses& UnicodeClasses::instance() {
  static const UnicodeClasses classes;
  return classes;
}

UnicodeClasses::UnicodeClasses() {
  std::map<Page, size_t> known;
  const Run* run = std::begin(kRuns);
  for (size_t page_number = 0; page_number < page_of_.size(); ++page_number) {
    Page page{};
    const auto start = static_cast<char32_t>(page_number << 8);
    const char32_t end = start + 256;
    while (run != std::end(kRuns) && run->first < end) {
      const char32_t first = std::max(run->first, start);
      const char32_t last = std::min<char32_t>(run->last, end - 1);
      std::fill(page.begin() + (first - start), page.begin() + (last - start) + 1, run->character_class);
      if (run->last >= end) break;  // goes on in the next page
      ++run;
    }
    const auto [entry, is_new] = known.try_emplace(page, pages_.size());
    if (is_new) pages_.push_back(page);
    page_of_[page_number] = static_cast<uint8_t>(entry->second);
  }
  CHECK(pages_.size() <= 256);
}

}  // namespace moe::text
