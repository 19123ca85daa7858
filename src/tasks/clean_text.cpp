// SPDX-License-Identifier: MIT
#include "tasks/clean_text.h"

#include <algorithm>
#include <clocale>  // uselocale
#include <cwctype>

#include "base/error.h"

namespace moe {
namespace {

// Upper and lower case of all of Unicode, whatever the user's locale is. Part of the C library since glibc 2.35.
class UnicodeCase {
 public:
  UnicodeCase() : locale_(newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
    if (locale_ == nullptr)
      throw UserError("the C library", "the locale C.UTF-8, for upper and lower case", "none", "install it");
  }
  ~UnicodeCase() { freelocale(locale_); }
  UnicodeCase(const UnicodeCase&) = delete;
  UnicodeCase& operator=(const UnicodeCase&) = delete;
  uint32_t upper(uint32_t c) const {
    return static_cast<uint32_t>(towupper_l(static_cast<wint_t>(c), locale_));
  }
  uint32_t lower(uint32_t c) const {
    return static_cast<uint32_t>(towlower_l(static_cast<wint_t>(c), locale_));
  }

 private:
  locale_t locale_;
};

bool continues(char c) {
  return (static_cast<uint8_t>(c) & 0xC0) == 0x80;
}

uint32_t decode(std::string_view character) {
  const auto lead = static_cast<uint8_t>(character[0]);
  if (character.size() == 1) return lead;
  uint32_t code = lead & (0x7Fu >> character.size());
  for (const char c : character.substr(1)) code = code << 6 | (static_cast<uint8_t>(c) & 0x3F);
  return code;
}

void encode(std::string& text, uint32_t code) {
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 63))};
  } else if (code < 0x10000) {
    text += {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 63)),
             static_cast<char>(0x80 | (code & 63))};
  } else {
    text += {static_cast<char>(0xF0 | code >> 18), static_cast<char>(0x80 | (code >> 12 & 63)),
             static_cast<char>(0x80 | (code >> 6 & 63)), static_cast<char>(0x80 | (code & 63))};
  }
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

}  // namespace

int64_t code_points(std::string_view utf8) {
  return std::count_if(utf8.begin(), utf8.end(), [](char c) { return !continues(c); });
}

std::string capitalized(std::string_view utf8) {
  const UnicodeCase letters;
  std::string result;
  for (size_t at = 0; at < utf8.size();) {
    size_t end = at + 1;
    while (end < utf8.size() && continues(utf8[end])) ++end;
    const std::string_view character = utf8.substr(at, end - at);
    const uint32_t code = character.size() <= 4 ? decode(character) : 0xFFFD;
    encode(result, at == 0 ? letters.upper(code) : letters.lower(code));
    at = end;
  }
  return result;
}

std::string clean_wikihow(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\n\r\f\v";
  const size_t begin = std::min(text.find_first_not_of(kSpaces), text.size());
  std::string clean(text.substr(begin, text.find_last_not_of(kSpaces) + 1 - begin));
  replace_all(clean, " [title]", ". ");
  for (size_t at = 0; (at = clean.find('[', at)) != std::string::npos;) {
    const size_t end = clean.find_first_of("]\n", at);  // not over the end of a line
    if (end == std::string::npos || clean[end] == '\n') {
      ++at;
    } else {
      clean.erase(at, end + 1 - at);
    }
  }
  replace_all(clean, "  ", " ");
  return clean;
}

}  // namespace moe
