// SPDX-License-Identifier: MIT
// What a shell offers for the word under the cursor. The scripts of `moe completion SHELL` ask the program
// itself (`moe __complete WORD...`), so that they know what this version takes.
#pragma once

#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/outline.h"

namespace moe::cli {

inline constexpr const char* kCompleteCommand = "__complete";

// words: those behind the program's name; the last one is under the cursor, and may be empty. First line:
// "words", "folders" or "all", a tab, and what of the word stands before the name of a file. Then, a line
// each, what the word may become, a tab, and what it means. One that ends in "." or "=" goes on.
std::string complete(const CommandOutline& program, const std::vector<std::string>& words);

void add_completion(CLI::App& app, Command& chosen);

}  // namespace moe::cli
