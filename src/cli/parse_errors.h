// SPDX-License-Identifier: MIT
// What the parser refuses, in the words of all other errors: where, what is expected, what was found, and a
// command that works.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/error.h"

namespace moe::cli {

// words: those that were parsed. app: as it is after that.
UserError in_words(const CLI::ParseError& error, CLI::App& app, const std::vector<std::string>& words);

// The first example of a command's --help; "" where it has none.
std::string first_example(const CLI::App& command);

}  // namespace moe::cli
