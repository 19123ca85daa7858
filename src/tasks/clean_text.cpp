// SPDX-License-Identifier: MIT
#include "tasks/clean_text.h"

#include <algorithm>
#include <clocale>  // uselocale
#include <cwctype>

#include "base/error.h"
#include "base/utf8.h"

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
  char32_t upper(char32_t c) const { return towupper_l(static_cast<wint_t>(c), locale_); }
  char32_t lower(char32_t c) const { return towlower_l(static_cast<wint_t>(c), locale_); }

 private:
  locale_t locale_;
};

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

}  // namespace

int64_t code_points(std::string_view utf8) {
  return std::count_if(utf8.begin(), utf8.end(), [](char c) { return !is_continuation(c); });
}

std::string capitalized(std::string_view utf8) {
  CHECK(well_formed_prefix(utf8) == utf8.size());
  const UnicodeCase letters;
  std::string result;
  for (size_t at = 0; at < utf8.size();) {
    const CodePoint character = decode_utf8(utf8.data() + at);
    append_utf8(result, at == 0 ? letters.upper(character.value) : letters.lower(character.value));
    at += static_cast<size_t>(character.length);
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
