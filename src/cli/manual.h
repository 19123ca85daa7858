// SPDX-License-Identifier: MIT
// Manual pages in the language of man(7), of what the parser and the settings declare.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "cli/outline.h"

namespace moe::cli {

// ("man1/moe-train.1", text) of the program, of each command, and of the settings (man5/moe-settings.5).
std::vector<std::pair<std::string, std::string>> manual_pages(const CommandOutline& program);

void add_man(CLI::App& app, Command& chosen);

}  // namespace moe::cli
