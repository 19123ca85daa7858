// SPDX-License-Identifier: MIT
// moe tokenize: text to token files (.bin, as llm.c reads and writes them).
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/format.h"
#include "base/terminal.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/presets.h"
#include "cli/tokenizer_words.h"
#include "data/config.h"
#include "data/source.h"
#include "data/text.h"
#include "data/tokenize.h"
#include "text/tokenizer.h"
#include "train/run_config.h"

namespace moe::cli {
namespace {

struct Options {
  std::vector<std::filesystem::path> config;
  std::string folder, prefix = "tokens";
  std::vector<std::string> source, overrides;
  int64_t shard_tokens = 100'000'000;
};

data::DataConfig data_config(const Options& options) {
  train::RunConfig config;
  auto sections = config.sections();
  for (const auto& file : read_configurations(options.config))
    read_config_text(file.text, file.name, sections);
  for (const auto& override_text : options.overrides) apply_override(override_text, sections);
  if (!options.source.empty()) {
    config.data.source = options.source;
    config.data.mixture.clear();
  }
  config.data.validate();
  return config.data;
}

int run(const Options& options) {
  const data::DataConfig config = data_config(options);
  Terminal terminal;
  const auto tokenizer = config.tokenizer.open();
  terminal.line("tokenizer " + tokenizer_words(tokenizer->facts()));
  const auto source = data::open_training_source(config, terminal);
  const data::TokenizeCounts counts = data::tokenize(
      source, *tokenizer, config,
      {.folder = options.folder, .prefix = options.prefix, .shard_tokens = options.shard_tokens}, terminal);
  terminal.line(fmt::format("{} documents, {} of text, {} tokens in {} files in {}",
                            format_count(static_cast<double>(counts.documents)),
                            format_bytes(static_cast<double>(counts.bytes)),
                            format_count(static_cast<double>(counts.tokens)), counts.shards, options.folder));
  if (counts.replaced > 0) terminal.warning(data::replaced_words(counts.replaced));
  const std::string files = (std::filesystem::path(options.folder) / options.prefix).string();
  terminal.line(
      fmt::format("train on them with: data.source='{}_train_*.bin' data.validation_source='{}_val_*.bin'",
                  files, files));
  return 0;
}

}  // namespace

void add_tokenize(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("tokenize", "Turn text into token files once, to train from many times");
  command->add_option("-o,--output", options->folder, "Folder for the token files")
      ->required()
      ->type_name("FOLDER");
  command
      ->add_option(
          "--source", options->source,
          "Files, folders, hf://datasets/USER/NAME/PATH or https:// addresses of text, JSON lines or Parquet")
      ->type_name("PATH");
  add_config_files(*command, options->config, "Take the section `data` from this file");
  command->add_option("--prefix", options->prefix, "Start of the file names")->capture_default_str();
  command->add_option("--shard-tokens", options->shard_tokens, "Tokens in a file")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  add_settings(*command, options->overrides, "Settings of the section data", "data.key=value");
  command->footer(
      "Examples:\n"
      "  moe tokenize --source corpus/ --output tokens/\n"
      "  moe tokenize --source notes.jsonl.gz --output tokens/ data.text_column=body data.num_workers=8\n"
      "Shard 0 holds the held-out text. Interrupted, the same command goes on at the last whole shard.");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace moe::cli
