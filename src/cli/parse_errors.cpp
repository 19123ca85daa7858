// SPDX-License-Identifier: MIT
#include "cli/parse_errors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

#include "cli/outline.h"

namespace moe::cli {
namespace {

// The command that the words name, and its name in full: "moe data inspect".
struct Named {
  CLI::App* command;
  std::string name;
};

Named named_by(const std::vector<std::string>& words, CLI::App& app) {
  Named named{&app, app.get_name()};
  for (const std::string& word : words) {
    const auto inner = named.command->get_subcommands(
        [&](const CLI::App* each) { return !word.empty() && each->get_name() == word; });
    if (inner.empty()) break;
    named.command = inner.front();
    named.name += " " + word;
  }
  return named;
}

// The option or argument that the parser's message names; null: none. The longest name, since --out is in
// --output.
CLI::Option* option_in(const std::string& message, CLI::App& command) {
  CLI::Option* found = nullptr;
  size_t longest = 0;
  for (CLI::Option* option : command.get_options([](const CLI::Option*) { return true; }))
    for (const std::string& name : {option->get_name(), option->get_name(true)})
      if (name.size() > longest && message.find(name) != std::string::npos) {
        found = option;
        longest = name.size();
      }
  return found;
}

// "RUN", "--seeds N".
std::string shown(const OptionOutline& option) {
  if (option.argument.empty() && !option.names.empty()) return option.names.back() + " " + option.value;
  return option.value.empty() || option.value == "TEXT" ? option.argument : option.value;
}

OptionOutline outline_of_option(const CLI::Option& option, CLI::App& command) {
  const CommandOutline outline = outline_of(command);
  const std::string argument = option.get_name(true);
  for (const OptionOutline& each : outline.options)
    if ((!each.argument.empty() && each.argument == argument) ||
        (!option.get_lnames().empty() &&
         std::ranges::count(each.names, "--" + option.get_lnames().front()) > 0))
      return each;
  return {};
}

std::string allowed(const OptionOutline& option) {
  if (!option.choices.empty()) return fmt::format("one of {}", fmt::join(option.choices, ", "));
  if (!option.limits.empty()) return "a number, " + option.limits;
  return option.value;
}

std::string hint_for(const Named& named) {
  const std::string example = first_example(*named.command);
  const std::string help = fmt::format("`{} --help` tells all", named.name);
  return example.empty() ? help : fmt::format("for example `{}`; {}", example, help);
}

}  // namespace

std::string first_example(const CLI::App& command) {
  const std::string footer = command.get_footer();
  const std::string mark = command.get_parent() == nullptr ? "First steps:\n" : "Examples:\n";
  size_t begin = footer.find(mark);
  if (begin == std::string::npos) return "";
  begin = footer.find_first_not_of(' ', begin + mark.size());
  const std::string line = footer.substr(begin, footer.find('\n', begin) - begin);
  return line.substr(0, line.find("  "));  // what the example does stands behind it
}

UserError in_words(const CLI::ParseError& error, CLI::App& app, const std::vector<std::string>& words) {
  const Named named = named_by(words, app);
  const std::string message = error.what(), hint = hint_for(named);
  const CLI::Option* const option = option_in(message, *named.command);
  const OptionOutline outline =
      option == nullptr ? OptionOutline{} : outline_of_option(*option, *named.command);
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) {
    if (option != nullptr)
      return {named.name, fmt::format("{} ({})", shown(outline), outline.help), "none", hint};
    std::vector<std::string> commands;
    for (const CommandOutline& each : outline_of(*named.command).commands) commands.push_back(each.name);
    if (!commands.empty())
      return {named.name, fmt::format("a command ({})", fmt::join(commands, ", ")), "none", hint};
  }
  if (option != nullptr && dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr &&
      option->count() == 0)
    return {named.name, fmt::format("{} ({})", shown(outline), outline.help), "no value", hint};
  const bool refused_value = dynamic_cast<const CLI::ValidationError*>(&error) != nullptr ||
                             dynamic_cast<const CLI::ConversionError*>(&error) != nullptr;
  if (option != nullptr && refused_value && !option->results().empty())
    return {fmt::format("{}: {}", named.name, shown(outline)), allowed(outline),
            fmt::format("\"{}\"", fmt::join(option->results(), " ")), hint};
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    const std::string found = message.substr(std::min(message.find(": ") + 2, message.size()));
    return {named.name, "no further word", fmt::format("\"{}\"", found), hint};
  }
  // Two options, which the message names.
  if (const size_t at = message.find(" excludes "); at != std::string::npos)
    return {named.name, fmt::format("{} or {}", message.substr(0, at), message.substr(at + 10)), "both",
            hint};
  if (const size_t at = message.find(" requires "); at != std::string::npos)
    return {named.name, fmt::format("{} beside {}", message.substr(at + 10), message.substr(0, at)), "none",
            hint};
  return {named.name, "words as its --help has them", message, hint};
}

}  // namespace moe::cli
