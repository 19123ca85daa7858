// SPDX-License-Identifier: MIT
#include "base/error.h"

#include "base/excerpt.h"
#include "base/secrets.h"

namespace moe {
namespace {

// Whatever got into a part, it stays text that a terminal can show, short enough to be read and without
// secrets.
constexpr size_t kLongestPart = 5000;

std::string part(const std::string& text) {
  return excerpt(without_secrets(text), kLongestPart, "\n\t");
}

std::string compose(const std::string& where, const std::string& expected, const std::string& found,
                    const std::string& hint) {
  std::string text = where;
  if (!expected.empty()) text += (text.empty() ? "expected " : ": expected ") + expected;
  if (!found.empty()) text += (expected.empty() ? ": " : ", found ") + found;
  if (!hint.empty()) text += ". Hint: " + hint;
  return text;
}

}  // namespace

// NOLINTNEXTLINE(performance-unnecessary-value-param): part() copies; what is thrown is rarely made
UserError::UserError(std::string where_, std::string expected_, std::string found_, std::string hint_)
    : std::runtime_error(compose(part(where_), part(expected_), part(found_), part(hint_))),
      where(part(where_)),
      expected(part(expected_)),
      found(part(found_)),
      hint(part(hint_)) {}

void fail_check(const char* file, int line, const char* condition, const std::string& message) {
  std::string text = std::string(file) + ":" + std::to_string(line) + ": internal error: " + condition;
  if (!message.empty()) text += ": " + message;
  throw InternalError(text);
}

}  // namespace moe
