// SPDX-License-Identifier: MIT
// moe completion SHELL: the script of a shell; and the answers that the scripts ask for.
#include "cli/completion.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>
#include <string_view>

#include "base/file.h"
#include "base/format.h"
#include "cli/completion_scripts.h"
#include "cli/presets.h"
#include "train/run_config.h"
#include "train/step_time.h"

namespace moe::cli {
namespace {

// What the words before the cursor say.
struct Context {
  const CommandOutline* command = nullptr;
  const OptionOutline* value_of = nullptr;  // the word under the cursor is, or may be, its value
  bool must_be_value = false;
  bool options_end = false;  // behind "--"
  size_t arguments = 0;      // so many words are arguments by place
  std::set<std::string> given;
};

bool is_setting(const CommandOutline& command, const std::string& word) {
  const OptionOutline* const settings = command.settings();
  if (settings == nullptr || word.find('=') == std::string::npos) return false;
  train::RunConfig defaults;
  return std::ranges::any_of(defaults.sections(),
                             [&](const Section& section) { return word.starts_with(section.name + "."); });
}

void read_word(const std::string& word, Context& context) {
  const OptionOutline* const before = context.value_of;
  if (context.must_be_value) {
    context.must_be_value = false;
    if (!before->many) context.value_of = nullptr;
  } else if (word == "--" && !context.options_end) {
    context.options_end = true;
    context.value_of = nullptr;
  } else if (word.starts_with('-') && !context.options_end) {
    const OptionOutline* const option = context.command->option(word.substr(0, word.find('=')));
    context.value_of = nullptr;
    if (option == nullptr) return;
    if (!option->again) context.given.insert(option->names.begin(), option->names.end());
    context.must_be_value = !option->value.empty() && word.find('=') == std::string::npos;
    if (context.must_be_value) context.value_of = option;
  } else if (const CommandOutline* inner = context.command->command(word); inner && before == nullptr) {
    context.command = inner;
  } else if (before == nullptr && !is_setting(*context.command, word)) {
    ++context.arguments;
  }
}

Context read_words(const CommandOutline& program, const std::vector<std::string>& words) {
  Context context;
  context.command = &program;
  for (size_t i = 0; i + 1 < words.size(); ++i)
    if (!(i == 0 && words[i] == "help")) read_word(words[i], context);
  return context;
}

// Collects the answer.
class Answer {
 public:
  explicit Answer(std::string word) : word_(std::move(word)) {}

  void offer(const std::string& candidate, const std::string& help) {
    if (candidate.starts_with(word_)) lines_ += candidate + '\t' + help + '\n';
  }
  // before: what of the word is no part of the file's name.
  void offer_files(Files files, const std::string& before) {
    if (files <= files_) return;
    files_ = files;
    before_ = before;
  }
  std::string text() const {
    static constexpr const char* kKinds[] = {"words", "folders", "all"};
    return fmt::format("{}\t{}\n{}", kKinds[static_cast<size_t>(files_)], before_, lines_);
  }
  const std::string& word() const { return word_; }

 private:
  std::string word_, before_, lines_;
  Files files_ = Files::none;
};

// In steps, as folders are: "training.", then "training.device=", then "training.device=gpu".
void offer_setting(const OptionOutline& settings, const std::string& before, Answer& answer) {
  train::RunConfig defaults;
  const std::string word = answer.word().substr(before.size());
  for (const Section& section : defaults.sections()) {
    if (!takes_section(settings, section)) continue;
    const std::string head = section.name + ".";
    if (!word.starts_with(head)) {
      answer.offer(before + head, fmt::format("settings of the section {}", section.name));
      continue;
    }
    for (const Field& field : section.fields) {
      const std::string name = head + field.name() + "=";
      if (!word.starts_with(name)) {
        answer.offer(before + name, fmt::format("{} ({})", field.help(), to_yaml(field.initial())));
        continue;
      }
      const std::string assigned = before + name;
      for (const std::string& choice : field.allowed()) answer.offer(assigned + choice, "");
      if (std::holds_alternative<bool>(field.initial()))
        for (const char* const choice : {"true", "false"}) answer.offer(assigned + choice, "");
      if (field.allowed().empty() && (field.is_list() || field.is_text()))  // of which some are places
        answer.offer_files(Files::all, assigned);
    }
  }
}

// Names, and the first of the rates.
void offer_gpus(const std::string& before, Answer& answer) {
  for (const train::GpuRates& gpu : train::known_gpus())
    answer.offer(before + gpu.name,
                 fmt::format("{}, {:.0f} TFLOP/s", format_bytes(gpu.memory), gpu.flops / 1e12));
  answer.offer(before + "memory=", "GiB of another GPU");
}

// before: what stands before the value in the same word, as in --config=FILE.
void offer_value(const OptionOutline& option, const std::string& before, Answer& answer) {
  for (const std::string& choice : option.choices) answer.offer(before + choice, "");
  if (option.value.ends_with("PRESET"))
    for (const Preset& preset : presets()) answer.offer(before + preset.name, summary_of(preset));
  if (option.value.starts_with("GPU")) offer_gpus(before, answer);
  if (std::ranges::count(option.names, "--set") > 0) {
    offer_setting(option, before, answer);
  } else if (option.value.find('=') == std::string::npos) {
    answer.offer_files(option.files, before);
  } else if (const size_t equals = answer.word().find('=', before.size()); equals != std::string::npos) {
    answer.offer_files(option.files, answer.word().substr(0, equals + 1));  // TASK=PLACE
  }
}

void offer_options(const Context& context, Answer& answer) {
  for (const OptionOutline& option : context.command->options)
    for (const std::string& name : option.names)
      if (!context.given.contains(name) &&
          (name.size() > 2 || answer.word().size() < 2 || answer.word() == name))
        answer.offer(name, option.help);
}

void offer_arguments(const Context& context, Answer& answer) {
  const OptionOutline* const settings = context.command->settings();
  if (settings != nullptr) offer_setting(*settings, "", answer);
  size_t place = 0;
  for (const OptionOutline& option : context.command->options) {
    if (option.argument.empty() || &option == settings) continue;
    if (place++ != context.arguments && !(option.many && place <= context.arguments)) continue;
    offer_value(option, "", answer);
  }
}

}  // namespace

std::string complete(const CommandOutline& program, const std::vector<std::string>& words) {
  const std::string word = words.empty() ? "" : words.back();
  const Context context = read_words(program, words);
  Answer answer(word);
  const bool option_word = word.starts_with('-') && !context.options_end && !context.must_be_value;
  if (context.value_of != nullptr && !option_word) offer_value(*context.value_of, "", answer);
  if (context.must_be_value) return answer.text();
  const size_t equals = word.find('=');
  if (option_word && equals != std::string::npos) {
    const OptionOutline* const option = context.command->option(word.substr(0, equals));
    if (option != nullptr) offer_value(*option, word.substr(0, equals + 1), answer);
  } else if (option_word) {
    offer_options(context, answer);
  } else if (!context.command->commands.empty()) {
    for (const CommandOutline& each : context.command->commands) answer.offer(each.name, each.description);
    if (context.command == &program && words.size() < 2) answer.offer("help", "Teaches a command");
  } else {
    offer_arguments(context, answer);
  }
  return answer.text();
}

void add_completion(CLI::App& app, Command& chosen) {
  struct Options {
    std::string shell, output;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("completion", "The script that completes moe's words in a shell");
  command->add_option("shell", options->shell, "Whose script")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->add_option("-o,--output", options->output, "Write it there; default: standard output")
      ->type_name("FILE");
  command->footer(
      "Examples:\n"
      "  source <(moe completion bash)                                  in this shell; a line for ~/.bashrc\n"
      "  source <(moe completion zsh)                                   behind compinit, for ~/.zshrc\n"
      "  moe completion fish --output ~/.config/fish/completions/moe.fish\n"
      "`make install` and the packages put all three where shells look for them.\n"
      "Words, options, their choices, settings and files are completed.");
  command->callback([options, &chosen] {
    chosen = [options] {
      const std::string_view script = completion_script(options->shell);
      if (options->output.empty()) {
        std::fwrite(script.data(), 1, script.size(), stdout);
        return 0;
      }
      std::filesystem::create_directories(std::filesystem::absolute(options->output).parent_path());
      write_file_atomically(options->output, script);
      return 0;
    };
  });
}

}  // namespace moe::cli
