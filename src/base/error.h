// SPDX-License-Identifier: MIT
// The two kinds of error. UserError: a bad setting, file, network or machine; the person at the terminal can
// mend it. CHECK: our own bug. Libraries throw; only main() prints and exits.
#pragma once

#include <stdexcept>
#include <string>

namespace moe {

// One message a person can act on. Each part is a phrase without a final full stop; empty parts are left out.
struct UserError : std::runtime_error {
  // where: the file, setting or step.  expected / found: the two things that disagree.  hint: what to do
  // next.
  UserError(std::string where, std::string expected, std::string found, std::string hint = "");

  std::string where, expected, found, hint;
};

// A broken promise inside the program; the message carries file and line.
struct InternalError : std::logic_error {
  using std::logic_error::logic_error;
};

[[noreturn]] void fail_check(const char* file, int line, const char* condition, const std::string& message);

}  // namespace moe

// CHECK(condition) or CHECK(condition, "message"): throws InternalError with file and line. Always on.
#define CHECK(condition, ...)                                                        \
  do {                                                                               \
    if (!(condition)) [[unlikely]]                                                   \
      ::moe::fail_check(__FILE__, __LINE__, #condition, ::std::string(__VA_ARGS__)); \
  } while (false)
