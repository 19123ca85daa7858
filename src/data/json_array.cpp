// SPDX-License-Identifier: MIT
// Only brackets and quotes are looked at; whether an item is an object, and what it holds, is seen where
// lines are read.
#include "data/json_array.h"

#include <fmt/format.h>

#include "base/error.h"

namespace moe::data {
namespace {

constexpr std::string_view kSpace = " \t\r\n";
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

std::string_view without_space(std::string_view text) {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
  return text;
}

}  // namespace

bool is_json_list(std::string_view head) {
  return without_space(head).starts_with("[");
}

void JsonListToLines::write(std::string_view bytes) {
  if (state_ == State::no_list) return sink_(bytes);
  if (state_ == State::before) {
    before_ += bytes;
    const std::string_view rest = without_space(before_);
    if ((rest.empty() && before_.size() < 4096) || kByteOrderMark.starts_with(before_)) return;
    state_ = rest.starts_with("[") ? State::inside : State::no_list;
    if (state_ == State::no_list) return sink_(before_);
    offset_ = std::ssize(before_) - std::ssize(rest) + 1;
    for (const char c : rest.substr(1)) take(c);
    before_.clear();
  } else {
    for (const char c : bytes) take(c);
  }
  sink_(out_);
  out_.clear();
}

void JsonListToLines::take(char c) {
  ++offset_;
  if (text_) {
    if (c == '\n' || c == '\r') {
      out_ += c == '\n' ? "\\n" : "\\r";  // not allowed there, and would cut the line
      return;
    }
    out_ += c;
    if (!escape_ && c == '"') text_ = false;
    escape_ = !escape_ && c == '\\';
    return;
  }
  if (kSpace.find(c) != std::string_view::npos) return;
  if (state_ == State::after || (depth_ == 0 && c == '}'))
    throw UserError(fmt::format("{}, byte {}", name_, offset_ - 1), "the end of the file after a JSON list",
                    "more", "JSON lines have one object a line, and no list around them");
  if (depth_ == 0 && (c == ']' || c == ',')) {
    out_ += '\n';
    if (c == ']') state_ = State::after;
    return;
  }
  text_ = c == '"';
  if (c == '{' || c == '[') ++depth_;
  if (c == '}' || c == ']') --depth_;
  out_ += c;
}

void JsonListToLines::finish() {
  if (state_ == State::before) sink_(before_);
  if (state_ == State::inside)
    throw UserError(name_, "the end of a JSON list, ]", "the end of the file",
                    "the file may have been cut short");
}

}  // namespace moe::data
