// SPDX-License-Identifier: MIT
#include "cli/outline.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace moe::cli {
namespace {

constexpr std::string_view kAnySection = "section.";

// CLI11 writes what a value must be behind its name: "N:INT in [1 - 8]", "TEXT:{step,moe-layer}".
void read_type(const std::string& type, OptionOutline& option) {
  static constexpr std::pair<std::string_view, std::string_view> kMarks[] = {
      {":{", ""},          {":INT in [", ""},        {":UINT in [", ""},
      {":FLOAT in [", ""}, {":POSITIVE", "above 0"}, {":NONNEGATIVE", "0 or above"}};
  option.value = type;
  for (const auto& [mark, words] : kMarks) {
    const size_t at = type.find(mark);
    if (at == std::string::npos) continue;
    option.value = type.substr(0, at);
    option.limits = words;
    const size_t begin = at + mark.size();
    if (mark == ":{") {
      std::string name;
      for (const char c : type.substr(begin, type.find('}', begin) - begin) + ",") {
        if (c != ',')
          name += c;
        else
          option.choices.push_back(std::exchange(name, ""));
      }
    } else if (mark.ends_with('[')) {
      option.limits = type.substr(begin, type.find(']', begin) - begin);
      if (const size_t dash = option.limits.find(" - "); dash != std::string::npos)
        option.limits.replace(dash, 3, " to ");
    }
  }
}

// By the words of the value's name: "FILE.jsonl", "DIR|hf://USER/NAME", "TASK=PLACE".
Files files_of(const std::string& value) {
  const auto has = [&](std::initializer_list<std::string_view> words) {
    return std::ranges::any_of(words, [&](std::string_view word) {
      const size_t at = value.find(word);
      return at != std::string::npos && (at == 0 || value[at - 1] == '|' || value[at - 1] == '=');
    });
  };
  if (has({"FILE", "PATH", "INPUT", "PLACE"})) return Files::all;
  return has({"DIR", "FOLDER", "RUN", "CKPT"}) ? Files::folders : Files::none;
}

OptionOutline outline_of(const CLI::Option& from, const std::string& group) {
  OptionOutline option;
  for (const std::string& name : from.get_snames()) option.names.push_back("-" + name);
  for (const std::string& name : from.get_lnames()) option.names.push_back("--" + name);
  option.argument = from.get_name(true);
  option.help = from.get_description();
  option.group = group;
  option.required = from.get_required();
  option.again = from.get_items_expected_max() > 1;
  if (from.get_items_expected_max() > 0) {
    option.many = option.again && from.get_allow_extra_args();
    option.initial = from.get_default_str();
    read_type(from.get_type_name(), option);
    option.files = files_of(option.value);
  }
  return option;
}

void add_options(CLI::App& app, const std::string& group, std::vector<OptionOutline>& into) {
  for (const CLI::Option* option : app.get_options([](const CLI::Option*) { return true; }))
    if (!option->get_group().empty() && (group.empty() || option != app.get_help_ptr()))
      into.push_back(outline_of(*option, group));
}

}  // namespace

const CommandOutline* CommandOutline::command(const std::string& word) const {
  const auto found = std::ranges::find(commands, word, &CommandOutline::name);
  return found == commands.end() ? nullptr : &*found;
}

const OptionOutline* CommandOutline::option(const std::string& word) const {
  const auto found = std::ranges::find_if(
      options, [&](const OptionOutline& each) { return std::ranges::count(each.names, word) > 0; });
  return found == options.end() ? nullptr : &*found;
}

const OptionOutline* CommandOutline::settings() const {
  return option("--set");
}

CommandOutline outline_of(CLI::App& app) {
  CommandOutline outline;
  outline.name = app.get_name();
  outline.description = app.get_description();
  outline.footer = app.get_footer();
  add_options(app, "", outline.options);
  for (CLI::App* inner : app.get_subcommands([](CLI::App*) { return true; })) {
    if (inner->get_name().empty())
      add_options(*inner, inner->get_group(), outline.options);
    else
      outline.commands.push_back(outline_of(*inner));
  }
  return outline;
}

bool takes_section(const OptionOutline& settings, const Section& section) {
  return settings.value.starts_with(kAnySection) || settings.value.starts_with(section.name + ".");
}

}  // namespace moe::cli
