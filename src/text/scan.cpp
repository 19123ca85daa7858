// SPDX-License-Identifier: MIT
#include "text/scan.h"

namespace moe::text {

size_t Scan::behind_apostrophe(size_t at, bool any_case) const {
  const auto letter = [&](size_t place) {
    const char c = byte(place);
    return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  };
  const char first = letter(at + 1), second = letter(at + 2);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 2;
  if (second == 'e' ? first == 'r' || first == 'v' : second == 'l' && first == 'l') return at + 3;
  const bool long_s = any_case && text_.substr(at + 1, 2) == "\u017F";
  return long_s ? at + 3 : at;
}

size_t Scan::white(size_t at, bool newlines) const {
  size_t last = at, behind_newline = at, end = at;
  for (CharacterClasses found = classes(end); (found & kWhite) != 0; found = classes(end)) {
    last = end;
    end = after(end);
    if ((found & classes_of(CharacterClass::kNewline)) != 0) behind_newline = end;
  }
  if (newlines && behind_newline != at) return behind_newline;
  return end == size() || last == at ? end : last;
}

}  // namespace moe::text
