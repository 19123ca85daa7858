// SPDX-License-Identifier: MIT
#include "cli/arguments.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <iterator>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/nearest.h"
#include "cli/outline.h"
#include "train/run_config.h"

namespace moe::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSet = "--set";

// Words of other programs for what a command does.
constexpr std::pair<std::string_view, const char*> kOtherNames[] = {{"pretrain", "train"},
                                                                    {"finetune", "train"},
                                                                    {"resume", "train --resume RUN"},
                                                                    {"sample", "generate"},
                                                                    {"infer", "generate"},
                                                                    {"inference", "generate"},
                                                                    {"predict", "generate"},
                                                                    {"talk", "chat"},
                                                                    {"evaluate", "eval"},
                                                                    {"validate", "eval"},
                                                                    {"convert", "export"},
                                                                    {"prepare", "tokenize"},
                                                                    {"preprocess", "tokenize"},
                                                                    {"benchmark", "bench"},
                                                                    {"profile", "bench"},
                                                                    {"dashboard", "watch"},
                                                                    {"tensorboard", "watch"},
                                                                    {"plot", "report"},
                                                                    {"inspect", "data inspect"},
                                                                    {"config", "plan --settings"},
                                                                    {"settings", "plan --settings"},
                                                                    {"average", "merge"},
                                                                    {"soup", "merge"},
                                                                    {"ablate", "compare"},
                                                                    {"sweep", "compare"}};

// Without groups of options, which CLI11 counts among the commands.
std::vector<std::string> command_names(CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command :
       app.get_subcommands([](const CLI::App* each) { return !each->get_name().empty(); }))
    names.push_back(command->get_name());
  return names;
}

CLI::App* find_command(CLI::App& app, const std::string& name) {
  return std::ranges::count(command_names(app), name) == 0 ? nullptr : app.get_subcommand(name);
}

[[noreturn]] void unknown_command(CLI::App& app, const std::string& word) {
  const std::vector<std::string> names = command_names(app);
  std::string meant = nearest_name(word, names);
  for (const auto& [other, ours] : kOtherNames)
    if (other == word) meant = ours;
  const std::string name = app.get_name();
  throw UserError(name, fmt::format("a command ({})", fmt::join(names, ", ")), fmt::format("\"{}\"", word),
                  meant.empty() ? fmt::format("`{} --help` tells what each does", name)
                                : fmt::format("did you mean `{} {}`?", name, meant));
}

// section.key=value of a section that exists.
bool is_setting(const std::string& word) {
  train::RunConfig defaults;
  return word.find('=') != std::string::npos &&
         std::ranges::any_of(defaults.sections(),
                             [&](const Section& section) { return word.starts_with(section.name + "."); });
}

bool is_value_of(const std::string& word, const CLI::App& command) {
  const CLI::Option* option = word.starts_with('-') ? command.get_option_no_throw(word) : nullptr;
  return option != nullptr && option->get_items_expected_min() > 0;
}

// A word that looks like an option must be one: else the word behind it would be blamed.
void expect_option(CLI::App& command, const std::string& word) {
  const bool is_long = word.starts_with("--") && word.size() > 2;
  const bool is_short =
      word.size() == 2 && word[0] == '-' && std::isalpha(static_cast<unsigned char>(word[1]));
  const std::string name = word.substr(0, word.find('='));
  if ((!is_long && !is_short) || command.get_option_no_throw(name) != nullptr) return;
  std::vector<std::string> names;
  for (const OptionOutline& option : outline_of(command).options)
    std::ranges::copy_if(option.names, std::back_inserter(names),
                         [](const std::string& one) { return one.starts_with("--"); });
  const std::string meant = nearest_name(name, names);
  throw UserError("moe " + command.get_name(), "an option of this command", fmt::format("\"{}\"", name),
                  meant.empty() ? fmt::format("`moe {} --help` lists them", command.get_name())
                                : fmt::format("did you mean {}?", meant));
}

// A word where only settings are left: a file of settings, a text, or a mistake.
[[noreturn]] void no_setting(const CLI::App& command, const std::string& word) {
  const fs::path path(word);
  const auto takes = [&](const char* option) { return command.get_option_no_throw(option) != nullptr; };
  std::string hint;
  if (takes("--config") && (path.extension() == ".yaml" || path.extension() == ".yml"))
    hint = "a file of settings is given as --config " + word;
  else if (std::error_code ignored; takes("--source") && fs::exists(path, ignored))
    hint = "a text is given as --source " + word;
  throw UserError("moe " + command.get_name(), "settings as section.key=value", fmt::format("\"{}\"", word),
                  hint);
}

}  // namespace

void add_settings(CLI::App& command, std::vector<std::string>& into, const std::string& help,
                  const std::string& type_name) {
  command.add_option(std::string("settings,") + kSet, into, help)
      ->type_name(type_name)
      ->each([&command](const std::string& word) {
        if (word.find('=') == std::string::npos) no_setting(command, word);
      });
}

CLI::Option* add_config_files(CLI::App& command, std::vector<fs::path>& into, const std::string& help) {
  return command.add_option("--config", into, help + "; given again, a later file replaces settings")
      ->type_name("FILE|PRESET")
      ->allow_extra_args(false);
}

std::vector<std::string> arrange(const std::vector<std::string>& words, CLI::App& app) {
  if (!words.empty() && words.front().starts_with('-') &&
      app.get_option_no_throw(words.front().substr(0, words.front().find('='))) == nullptr)
    throw UserError(app.get_name(), fmt::format("a command ({})", fmt::join(command_names(app), ", ")),
                    fmt::format("\"{}\"", words.front()), "options come after the command");
  CLI::App* command = &app;
  std::vector<std::string> arranged;
  auto next = words.begin();
  for (; next != words.end() && !next->starts_with('-') && !command_names(*command).empty(); ++next) {
    CLI::App* const inner = find_command(*command, *next);
    const bool top = command == &app;
    if (inner == nullptr && top && *next == "version") return {"--version"};
    if (inner == nullptr && *next == "help") {  // of what follows
      auto rest = arrange({next + 1, words.end()}, app);
      rest.emplace_back("--help");
      return rest;
    }
    if (inner == nullptr) unknown_command(*command, *next);
    command = inner;
    arranged.push_back(*next);
  }
  const bool takes_settings = command->get_option_no_throw(kSet) != nullptr;
  std::vector<std::string> settings;
  for (; next != words.end() && *next != "--"; ++next) {
    const bool value = is_value_of(arranged.empty() ? "" : arranged.back(), *command);
    if (!value && command != &app) expect_option(*command, *next);
    if (takes_settings && !value && *next == kSet && next + 1 != words.end())
      settings.insert(settings.end(), {kSet, *++next});
    else if (takes_settings && !value && is_setting(*next))
      settings.insert(settings.end(), {kSet, *next});
    else
      arranged.push_back(*next);
  }
  // Last, where an option that takes all words up to the next option takes none that is not its own.
  arranged.insert(arranged.end(), settings.begin(), settings.end());
  arranged.insert(arranged.end(), next, words.end());
  return arranged;
}

}  // namespace moe::cli
