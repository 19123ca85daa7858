// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <string_view>

namespace moe {

// Takes the first line from the text; returned without its newline, which the last line need not have.
inline std::string_view take_line(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

}  // namespace moe
