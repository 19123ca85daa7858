// SPDX-License-Identifier: MIT
// moe data inspect: what a source holds, from its metadata and a small sample.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/format.h"
#include "base/json.h"
#include "base/terminal.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/presets.h"
#include "data/inspect.h"
#include "data/source_bytes.h"
#include "data/text.h"
#include "text/chat.h"
#include "text/tokenizer.h"
#include "train/run_config.h"

namespace moe::cli {
namespace {

struct Options {
  std::vector<std::filesystem::path> config;
  std::vector<std::string> source, overrides;
  int64_t sample_mb = 16;
  bool json = false;
};

OrderedJson to_json(const data::Inspection& found) {
  auto files = OrderedJson::array();
  for (const auto& file : found.files)
    files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"format", file.format}});
  return {{"files", std::move(files)},
          {"file_bytes", found.file_bytes},
          {"units", found.units},
          {"text_bytes", found.text_bytes},
          {"rows", found.rows},
          {"columns", found.columns},
          {"sample",
           {{"units", found.sample_units},
            {"documents", found.sample_documents},
            {"bytes", found.sample_bytes},
            {"tokens", found.sample_tokens},
            {"replaced", found.replaced},
            {"tokens_per_document", found.tokens_per_document},
            {"learned_tokens", found.learned_tokens},
            {"first_document", found.first_document}}},
          {"bytes_per_token", found.bytes_per_token()},
          {"epoch_documents", found.epoch_documents()},
          {"epoch_tokens", found.epoch_tokens()}};
}

// Tokens one after another, with a bar between; those that are learned green, or in brackets where there are
// no colours.
void print_conversation(const data::Inspection& found, const text::Chat& chat) {
  const bool colour = isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr;
  fmt::print("learned   {:.1f} % of the tokens\n--- the first conversation, what is learned {} ---\n",
             100.0 * static_cast<double>(found.learned_tokens) / static_cast<double>(found.sample_tokens),
             colour ? "in green" : "in [[ ]]");
  bool learned = false;
  std::string text;
  for (size_t i = 0; i < found.first_conversation.size(); ++i) {
    const text::TokenId marked = found.first_conversation[i], id = data::id_of(marked);
    if (learned == data::is_given(marked)) {
      learned = !learned;
      text += colour ? (learned ? "\x1b[32m" : "\x1b[0m") : (learned ? "[[" : "]]");
    } else if (i > 0) {
      text += "|";
    }
    text += chat.decode(std::span(&id, 1), true);
  }
  text += learned ? (colour ? "\x1b[0m" : "]]") : "";
  fmt::print("{}\n---\n", text);
}

void print(const data::Inspection& found, const data::DataConfig& config) {
  constexpr size_t kShown = 10;  // files
  const auto count = [](int64_t n) { return format_count(static_cast<double>(n)); };
  const auto bytes = [](int64_t n) { return format_bytes(static_cast<double>(n)); };
  fmt::print("files     {}, {}\n", found.files.size(), bytes(found.file_bytes));
  for (size_t i = 0; i < std::min(kShown, found.files.size()); ++i)
    fmt::print("            {}  {}  {}\n", found.files[i].name, bytes(found.files[i].bytes),
               found.files[i].format);
  if (found.files.size() > kShown) fmt::print("            and {} more\n", found.files.size() - kShown);
  if (!found.columns.empty()) {
    fmt::print("columns\n");
    for (const std::string& column : found.columns) fmt::print("            {}\n", column);
  }
  fmt::print("units     {} (read and shuffled as a whole)\n", count(found.units));
  if (found.rows > 0) fmt::print("rows      {}\n", found.rows);
  fmt::print("text      {} before filters\n", bytes(found.text_bytes));
  fmt::print("sample    {} documents, {}, {} tokens, from {} units\n", found.sample_documents,
             bytes(found.sample_bytes), count(found.sample_tokens), found.sample_units);
  if (found.sample_documents == 0) return;
  fmt::print("tokens    a document: ");
  const char* separator = "";
  for (size_t i = 0; i < data::kPercentiles.size(); ++i, separator = ", ")
    fmt::print("{}{} {}", separator,
               data::kPercentiles[i] == 0     ? "least"
               : data::kPercentiles[i] == 100 ? "most"
                                              : fmt::format("{} %", data::kPercentiles[i]),
               found.tokens_per_document[i]);
  fmt::print("; {:.2f} bytes a token\n", found.bytes_per_token());
  fmt::print("epoch     about {} documents, {} tokens\n", count(found.epoch_documents()),
             count(found.epoch_tokens()));
  if (found.first_conversation.empty())
    fmt::print("--- the first document ---\n{}\n---\n", found.first_document);
  else
    print_conversation(found, *config.open_chat());
}

int run(const Options& options) {
  train::RunConfig config;
  auto sections = config.sections();
  for (const auto& file : read_configurations(options.config))
    read_config_text(file.text, file.name, sections);
  for (const auto& text : options.overrides) apply_override(text, sections);
  if (!options.source.empty()) {
    config.data.source = options.source;
    config.data.mixture.clear();
  }
  config.data.row_length = config.model.max_seq_len;
  config.data.validate();
  config.data.require_text();
  if (config.data.source.empty())
    throw UserError("moe data inspect", "places to look into", "a mixture", "name one of its places");
  Terminal terminal;
  const auto tokenizer = config.data.tokenizer.open();
  const data::Inspection found =
      data::inspect(config.data.source, config.data, *tokenizer, options.sample_mb << 20, terminal);
  if (options.json)
    fmt::print("{}\n", to_json(found).dump(2, ' ', false, Json::error_handler_t::replace));
  else
    print(found, config.data);
  if (found.replaced > 0) terminal.warning(data::replaced_words(found.replaced));
  return 0;
}

}  // namespace

void add_data(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* data = app.add_subcommand("data", "Look at training text");
  data->require_subcommand(1);
  CLI::App* command =
      data->add_subcommand("inspect", "Files, columns, a sample, tokens: of local and remote text");
  command->add_option("source", options->source, "Files, folders, hf://datasets/USER/NAME/PATH, https://...")
      ->type_name("PLACE");
  add_config_files(*command, options->config, "Take the section `data` from this file");
  command->add_option("--sample-mb", options->sample_mb, "MiB of text to tokenise for the estimates")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->add_flag("--json", options->json, "One JSON object on standard output");
  add_settings(*command, options->overrides, "Settings of the section data", "data.key=value");
  command->footer(
      "Examples:\n"
      "  moe data inspect corpus/ data.document_split=blank_line\n"
      "  moe data inspect hf://datasets/HuggingFaceFW/fineweb-edu/sample/10BT --json");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace moe::cli
