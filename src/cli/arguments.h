// SPDX-License-Identifier: MIT
// What commands have in common on the command line: settings as section.key=value wherever they stand, files
// of settings laid over one another, and a word of help for a command that does not exist.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <vector>

namespace moe::cli {

// Declares the settings that a command takes: each word section.key=value, or --set section.key=value.
void add_settings(CLI::App& command, std::vector<std::string>& into, const std::string& help,
                  const std::string& type_name = "section.key=value");

// Declares --config, which may be given again: a later file replaces settings of the earlier ones.
CLI::Option* add_config_files(CLI::App& command, std::vector<std::filesystem::path>& into,
                              const std::string& help);

// The words after the program's name as the parser is to see them. Settings are named by --set, so that no
// option with several values takes them for its own. `help`, `help COMMAND` and `version` are the flags of
// that name. Throws UserError for an unknown command, with the one that was meant.
std::vector<std::string> arrange(const std::vector<std::string>& words, CLI::App& app);

}  // namespace moe::cli
