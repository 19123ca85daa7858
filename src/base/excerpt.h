// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace moe {

// What a message quotes of a text from outside: well-formed UTF-8, cut after about `most` bytes, control
// characters but those in `kept` as \x1b: a name in a file must not move the terminal's cursor.
std::string excerpt(std::string_view text, size_t most = 120, std::string_view kept = "");

}  // namespace moe
