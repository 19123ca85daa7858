// SPDX-License-Identifier: MIT
#include "tasks/clean_text.h"

#include <algorithm>
#include <clocale>  // uselocale
#include <cwctype>

#include "base/error.h"
#include "base/utf8.h"
#include "text/unicode.h"

namespace moe::tasks {
namespace {

// Upper and lower case of all of Unicode, whatever the user's locale is. Part of the C library since glibc
// 2.35.
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

// str.isspace(): White_Space, and four separators that Python adds to it.
bool is_space(char32_t c) {
  const bool white = (text::classes_of(text::UnicodeClasses::instance()(c)) & text::kWhite) != 0;
  return white || (c >= 0x1c && c <= 0x1f);
}

// The length of the character of white space that the text begins with; 0 if it begins with none.
size_t space_at(std::string_view text) {
  size_t length = text.empty() ? 0 : 1;
  while (length > 0 && length < text.size() && is_continuation(text[length])) ++length;
  if (length == 0 || well_formed_prefix(text.substr(0, length)) != length) return 0;
  return is_space(decode_utf8(text.data()).value) ? length : 0;
}

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

std::string_view strip_right(std::string_view utf8) {
  while (!utf8.empty()) {
    size_t last = utf8.size() - 1;
    while (last > 0 && is_continuation(utf8[last])) --last;
    if (space_at(utf8.substr(last)) != utf8.size() - last) break;
    utf8.remove_suffix(utf8.size() - last);
  }
  return utf8;
}

std::string_view strip(std::string_view utf8) {
  while (const size_t length = space_at(utf8)) utf8.remove_prefix(length);
  return strip_right(utf8);
}

std::string clean_wikihow(std::string_view text) {
  std::string clean(strip(text));
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

}  // namespace moe::tasks
