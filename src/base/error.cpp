// SPDX-License-Identifier: MIT
#include "base/error.h"

#include <utility>

namespace moe {
namespace {

std::string compose(const std::string& where, const std::string& expected, const std::string& found,
                    const std::string& hint) {
  std::string text = where;
  if (!expected.empty()) text += (text.empty() ? "expected " : ": expected ") + expected;
  if (!found.empty()) text += (expected.empty() ? ": " : ", found ") + found;
  if (!hint.empty()) text += ". Hint: " + hint;
  return text;
}

}  // namespace

UserError::UserError(std::string where_, std::string expected_, std::string found_, std::string hint_)
    : std::runtime_error(compose(where_, expected_, found_, hint_)),
      where(std::move(where_)),
      expected(std::move(expected_)),
      found(std::move(found_)),
      hint(std::move(hint_)) {}

void fail_check(const char* file, int line, const char* condition, const std::string& message) {
  std::string text = std::string(file) + ":" + std::to_string(line) + ": internal error: " + condition;
  if (!message.empty()) text += ": " + message;
  throw InternalError(text);
}

}  // namespace moe
