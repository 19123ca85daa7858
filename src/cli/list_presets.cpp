// SPDX-License-Identifier: MIT
// moe presets: the configurations that the program carries, and the text of one.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/format.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/presets.h"
#include "model/flops.h"
#include "train/run_config.h"

namespace moe::cli {
namespace {

struct Options {
  std::string name;
};

// One that is a training by itself.
struct Listed {
  Preset preset;
  model::ParameterCount parameters;
  int64_t tokens = 0;  // of the whole run, on one rank
};

Listed read(const Preset& preset) {
  const train::RunConfig config = train::RunConfig::load({read_preset(preset.name)});
  const train::TrainingConfig& training = config.training;
  return {preset, model::count_parameters(config.model),
          training.max_tokens > 0 ? training.max_tokens : config.tokens_of_step(1) * training.max_steps};
}

void print_line(const Listed& one) {
  const auto words = [](int64_t n) { return format_count(static_cast<double>(n)); };
  fmt::print("  {:<18}{:>9}{:>10}{:>10}   {}\n", one.preset.name, words(one.parameters.total),
             words(one.parameters.active), words(one.tokens), summary_of(one.preset));
}

int run(const Options& options) {
  if (!options.name.empty()) {
    const std::string text = read_preset(options.name).text;
    std::fwrite(text.data(), 1, text.size(), stdout);
    return 0;
  }
  fmt::print("  {:<18}{:>9}{:>10}{:>10}\n", "--config", "total", "active", "tokens");
  std::vector<Listed> list;
  for (const Preset& preset : presets())
    if (!preset.overlay) list.push_back(read(preset));
  std::ranges::stable_sort(list, {}, [](const Listed& one) { return one.parameters.total; });
  for (const Listed& one : list) print_line(one);
  fmt::print("  to lay over one of them, as --config NAME --config OVERLAY\n");
  for (const Preset& preset : presets())
    if (preset.overlay) fmt::print("  {:<18}{}\n", preset.name, summary_of(preset));
  return 0;
}

}  // namespace

void add_presets(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("presets", "Configurations that the program carries, for --config");
  command->add_option("name", options->name, "Print this one, to keep and to change")->type_name("PRESET");
  command->footer(
      "Examples:\n"
      "  moe presets                                   names, parameters, tokens of the planned run\n"
      "  moe presets moe_120m > mine.yaml              the settings of one, as a file\n"
      "  moe plan --config moe_120m                    its memory and arithmetic\n"
      "  moe train --config moe_120m --config own_text data.source=my_texts/\n"
      "docs/presets.md says which GPU each is for.");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace moe::cli
