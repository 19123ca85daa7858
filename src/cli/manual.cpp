// SPDX-License-Identifier: MIT
// moe man FOLDER: the manual pages.
#include "cli/manual.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <sstream>
#include <string_view>

#include "base/file.h"
#include "base/version.h"
#include "train/run_config.h"

namespace moe::cli {
namespace {

namespace fs = std::filesystem;

// Text that stands for itself. troff would make typographic quotes, hyphens and accents of these characters.
std::string plain(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '\\':
        escaped += "\\e";
        break;
      case '-':
        escaped += "\\-";
        break;
      case '\'':
        escaped += "\\(aq";
        break;
      case '`':
        escaped += "\\(ga";
        break;
      case '^':
        escaped += "\\(ha";
        break;
      case '~':
        escaped += "\\(ti";
        break;
      default:
        escaped += c;
    }
  }
  if (escaped.starts_with('.')) escaped.insert(0, "\\&");
  return escaped;
}

std::string bold(std::string_view text) {
  return "\\fB" + plain(text) + "\\fR";
}
std::string italic(std::string_view text) {
  return "\\fI" + plain(text) + "\\fR";
}

std::string upper(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return text;
}

std::string head(const std::string& name, int section, const std::string& description) {
  return fmt::format(".TH {} {} \"\" \"{}\" \"moe\"\n.SH NAME\n{} \\- {}\n", upper(plain(name)), section,
                     program_version(), plain(name), plain(description));
}

// "--shard-gb GB", "-o, --output FOLDER ...": as it is typed.
std::string typed(const OptionOutline& option, bool by_place) {
  std::string text;
  if (by_place) {
    text = italic(option.argument);
  } else {
    for (const std::string& name : option.names) text += (text.empty() ? "" : ", ") + bold(name);
    if (!option.value.empty()) text += " " + italic(option.value);
  }
  if (by_place ? option.many : option.again) text += " ...";
  return text;
}

std::string option_text(const OptionOutline& option, bool by_place) {
  std::string help = plain(option.help);
  const auto add = [&](const std::string& sentence) {
    if (!help.empty() && !help.ends_with('.')) help += '.';
    help += (help.empty() ? "" : " ") + sentence + ".";
  };
  if (by_place && option.value.find(".key=") != std::string::npos) add("Each is " + plain(option.value));
  if (!option.choices.empty()) add(plain(fmt::format("One of: {}", fmt::join(option.choices, ", "))));
  if (!option.limits.empty()) add("Allowed: " + plain(option.limits));
  if (!option.initial.empty()) add("Default: " + plain(option.initial));
  if (option.required) add("Required");
  return fmt::format(".TP\n{}\n{}\n", typed(option, by_place), help);
}

std::string synopsis(const std::string& words, const CommandOutline& command) {
  std::string text = fmt::format(".SH SYNOPSIS\n{} [{}]", bold(words), italic("options"));
  for (const OptionOutline& option : command.options) {
    if (option.argument.empty()) continue;
    const std::string word = typed(option, true);
    text += option.required ? " " + word : " [" + word + "]";
  }
  if (!command.commands.empty()) text += " " + italic("command");
  return text + "\n";
}

// A line "Examples:" begins a section, lines that are set in stay as they are, and others are text.
std::string footer_text(const std::string& footer) {
  std::string text;
  std::istringstream lines(footer);
  enum class In : uint8_t { nothing, example, prose } in = In::nothing;
  for (std::string line; std::getline(lines, line);) {
    const bool example = line.starts_with("  ");
    if (in == In::example && !example) text += ".EE\n";
    if (example) {
      text += (in == In::example ? "" : ".EX\n") + plain(line) + "\n";
      in = In::example;
    } else if (line.ends_with(':') && line.size() < 20) {
      text += ".SH " + upper(plain(line.substr(0, line.size() - 1))) + "\n";
      in = In::nothing;
    } else if (!line.empty()) {
      if (in != In::prose) text += text.empty() ? ".SH NOTES\n" : ".PP\n";
      text += plain(line) + "\n";
      in = In::prose;
    }
  }
  if (in == In::example) text += ".EE\n";
  return text;
}

std::string options_text(const CommandOutline& command) {
  std::string arguments, options, group;
  for (const OptionOutline& option : command.options) {
    if (!option.argument.empty()) arguments += option_text(option, true);
    if (option.names.empty()) continue;
    if (option.group != group) options += ".SS " + plain(option.group) + "\n";
    group = option.group;
    options += option_text(option, false);
  }
  return (arguments.empty() ? "" : ".SH ARGUMENTS\n" + arguments) + ".SH OPTIONS\n" + options;
}

std::string page_name(const std::string& words) {
  std::string name = words;
  std::ranges::replace(name, ' ', '-');
  return name;
}

std::string see_also(const std::vector<std::pair<std::string, int>>& pages) {
  std::string text = ".SH SEE ALSO\n";
  for (size_t i = 0; i < pages.size(); ++i)
    text += fmt::format(".BR {} ({}){}\n", plain(pages[i].first), pages[i].second,
                        i + 1 < pages.size() ? "," : "");
  return text;
}

constexpr const char* kExitStatus =
    ".SH EXIT STATUS\n"
    ".TP\n.B 0\nDone.\n"
    ".TP\n.B 1\nA mistake that the user can mend; the message names the place, what was expected and what "
    "was "
    "found.\n"
    ".TP\n.B 2\nAn error of the program itself; please report it.\n"
    ".TP\n.B 128+\\fIn\\fR\nEnded by signal \\fIn\\fR, with all saved.\n";

// above: the words of the command around it; "" for the program.
void add_pages(const CommandOutline& command, const std::string& above,
               std::vector<std::pair<std::string, std::string>>& into) {
  const std::string words = above.empty() ? command.name : above + " " + command.name;
  const std::string prefix = command.name + ": ";  // of the program's own description
  std::string description = command.description;
  if (description.starts_with(prefix)) description.erase(0, prefix.size());
  std::string text = head(page_name(words), 1, description) + synopsis(words, command);
  std::vector<std::pair<std::string, int>> others;
  if (!above.empty()) others.emplace_back(page_name(above), 1);
  if (!command.commands.empty()) {
    text += ".SH COMMANDS\n";
    for (const CommandOutline& each : command.commands) {
      text += fmt::format(".TP\n{}\n{}\n", bold(each.name), plain(each.description));
      others.emplace_back(page_name(words + " " + each.name), 1);
    }
  }
  if (command.settings() != nullptr || above.empty()) others.emplace_back("moe-settings", 5);
  text += options_text(command) + footer_text(command.footer);
  if (above.empty()) text += kExitStatus;
  into.emplace_back("man1/" + page_name(words) + ".1", text + see_also(others));
  for (const CommandOutline& each : command.commands) add_pages(each, words, into);
}

std::string settings_page() {
  train::RunConfig defaults;
  std::string text =
      head("moe-settings", 5, "settings of a run: model, training, data, logging and many ranks") +
      ".SH DESCRIPTION\n"
      "Settings are a YAML file with these sections, and each of them can be replaced on the command line "
      "as\n"
      ".IR section . key = value .\n"
      "What a file leaves out has the default that stands here behind the name.\n"
      ".PP\n.EX\n  training:\n    max_steps: 600\n    learning_rate: 0.001\n.EE\n"
      ".PP\n.EX\n  moe train \\-\\-config FILE training.max_steps=50\n.EE\n";
  for (const Section& section : defaults.sections()) {
    text += ".SH SECTION " + upper(section.name) + "\n";
    for (const Field& field : section.fields)
      text += fmt::format(".TP\n{} = {}\n{}\n.br\nTakes {}.\n", bold(section.name + "." + field.name()),
                          plain(to_yaml(field.initial())), plain(field.help()), plain(field.expected()));
  }
  return text + see_also({{"moe", 1}, {"moe-plan", 1}, {"moe-train", 1}});
}

}  // namespace

std::vector<std::pair<std::string, std::string>> manual_pages(const CommandOutline& program) {
  std::vector<std::pair<std::string, std::string>> pages;
  add_pages(program, "", pages);
  pages.emplace_back("man5/moe-settings.5", settings_page());
  return pages;
}

void add_man(CLI::App& app, Command& chosen) {
  auto folder = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("man", "Write the manual pages into a folder");
  command->add_option("folder", *folder, "Gets man1/moe.1, man1/moe-train.1, ..., man5/moe-settings.5")
      ->required()
      ->type_name("DIR");
  command->footer(
      "Examples:\n"
      "  moe man ~/.local/share/man && man moe-train\n"
      "`make install` and the packages put them where man looks.");
  command->callback([folder, &chosen, &app] {
    chosen = [folder, &app] {
      const auto pages = manual_pages(outline_of(app));
      for (const auto& [name, text] : pages) {
        const fs::path path = fs::path(*folder) / name;
        fs::create_directories(path.parent_path());
        write_file_atomically(path, text);
      }
      fmt::print("{} pages in {}\n", pages.size(), *folder);
      return 0;
    };
  });
}

}  // namespace moe::cli
