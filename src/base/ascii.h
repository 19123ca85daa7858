// SPDX-License-Identifier: MIT
// Letters and white space of ASCII, whatever the locale. For text of people see base/utf8.h.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace moe {

inline char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

inline std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](char c) { return lower(c); });
  return result;
}

// Without the characters of `space` at both ends.
inline std::string_view trim(std::string_view text, std::string_view space = " \t\r\n") {
  const size_t begin = text.find_first_not_of(space);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(space) - begin + 1);
}

}  // namespace moe
