// SPDX-License-Identifier: MIT
#include "text/piece_name.h"

namespace moe::text {
namespace {

int hexadecimal(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

}  // namespace

void append_with_spaces(std::string& text, std::string_view name) {
  for (size_t at = name.find(kSpaceSign); at != std::string_view::npos; at = name.find(kSpaceSign)) {
    text.append(name.substr(0, at)).push_back(' ');
    name.remove_prefix(at + kSpaceSign.size());
  }
  text.append(name);
}

std::optional<char> byte_of_name(std::string_view name) {
  if (name.size() != 6 || !name.starts_with("<0x") || name.back() != '>') return std::nullopt;
  const int high = hexadecimal(name[3]), low = hexadecimal(name[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<char>(high * 16 + low);
}

bool crosses_words(std::string_view name) {
  while (name.starts_with(kSpaceSign)) name.remove_prefix(kSpaceSign.size());
  return name.find(kSpaceSign) != std::string_view::npos || name.find(' ') != std::string_view::npos;
}

}  // namespace moe::text
