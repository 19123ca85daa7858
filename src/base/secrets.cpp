// SPDX-License-Identifier: MIT
#include "base/secrets.h"

#include <algorithm>

namespace moe {
namespace {

bool is_scheme(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '-' ||
         c == '.';
}

bool ends_address(char c) {
  return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f || c == '"' || c == '\'' || c == '`' ||
         c == '\\' || c == '<' || c == '>';
}

// Of what stands behind "://".
std::string_view without_user(std::string_view address) {
  const size_t slash = std::min(address.find('/'), address.size());
  const std::string_view authority = address.substr(0, slash);
  size_t at = authority.rfind('@');
  // "user:pass/word@host": no address, but the password is one.
  if (const size_t colon = authority.find(':');
      at == std::string_view::npos && colon != std::string_view::npos) {
    const std::string_view port = authority.substr(colon + 1);
    if (!std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; }) &&
        !authority.starts_with('['))
      at = address.rfind('@');
  }
  return at == std::string_view::npos ? address : address.substr(at + 1);
}

}  // namespace

std::string without_secrets(std::string_view text) {
  constexpr std::string_view kMark = "://";
  std::string shown;
  for (size_t mark = text.find(kMark); mark != std::string_view::npos; mark = text.find(kMark)) {
    size_t scheme = mark;
    while (scheme > 0 && is_scheme(text[scheme - 1])) --scheme;
    const bool hub = text.substr(scheme, mark - scheme) == "hf";
    const size_t begin = mark + kMark.size();
    shown += text.substr(0, begin);
    text.remove_prefix(begin);
    if (hub || scheme == mark) continue;
    const auto end = static_cast<size_t>(std::find_if(text.begin(), text.end(), ends_address) - text.begin());
    const std::string_view address = text.substr(0, end);
    // A password may hold the '?' and '#' that should be written as %3F and %23.
    const size_t query = std::min(address.find_first_of("?#"), address.size());
    const size_t slash = address.find('/');
    const bool in_user = query < slash && address.find('@', query) != std::string_view::npos &&
                         address.substr(0, query).find(':') != std::string_view::npos;
    if (!in_user) {
      shown += without_user(address.substr(0, query));
    } else {
      const std::string_view rest = address.substr(address.rfind('@') + 1);
      shown += rest.substr(0, rest.find_first_of("?#"));
    }
    text.remove_prefix(end);
  }
  return shown += text;
}

bool has_secrets(std::string_view text) {
  return without_secrets(text) != text;
}

}  // namespace moe
