// SPDX-License-Identifier: MIT
// What the parser declares, as data: each command with its options, arguments, choices and kinds of files.
// Completion and manual pages are made of it, so that they cannot say something else than --help.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "base/config_file.h"

namespace moe::cli {

enum class Files : uint8_t { none, folders, all };  // which of them a shell offers as a value

// An option, an argument by place, or both (settings, which are words or values of --set).
struct OptionOutline {
  std::vector<std::string> names;  // "-o", "--output"
  std::string argument;            // its name by place; "" of an option
  std::string value;               // "FILE", as in --help; "" of a flag
  std::string limits;              // "1 to 65536"
  std::vector<std::string> choices;
  std::string initial;  // the default, where --help shows it
  std::string help, group;
  Files files = Files::none;
  bool required = false;
  bool again = false;  // may be given more than once
  bool many = false;   // takes all values up to the next option
};

struct CommandOutline {
  std::string name, description, footer;
  std::vector<OptionOutline> options;
  std::vector<CommandOutline> commands;

  const CommandOutline* command(const std::string& word) const;
  const OptionOutline* option(const std::string& word) const;
  // The option whose arguments are settings; nullptr: the command takes none.
  const OptionOutline* settings() const;
};

CommandOutline outline_of(CLI::App& app);

// The settings that an option takes: of one section where its value is named so ("data.key=value").
bool takes_section(const OptionOutline& settings, const Section& section);

}  // namespace moe::cli
