// SPDX-License-Identifier: MIT
// moe tokenizer train: a byte-level BPE of one's own text, as a tokenizer.json for data.tokenizer.
#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/format.h"
#include "base/progress.h"
#include "base/terminal.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/tokenizer_words.h"
#include "data/config.h"
#include "data/count_pieces.h"
#include "data/source.h"
#include "interop/staged_folder.h"
#include "text/load_tokenizer.h"
#include "text/write_tokenizer_json.h"
#include "train/run_config.h"

namespace moe::cli {
namespace {

constexpr const char* kEndOfText = "<|endoftext|>";

struct Options {
  std::vector<std::string> source, overrides;
  std::string folder, pattern = std::string(name_of(text::SplitPattern::gpt2));
  int64_t vocabulary = 0, threads = 0;
};

data::DataConfig data_config(const Options& options) {
  train::RunConfig config;
  auto sections = config.sections();
  for (const auto& text : options.overrides) apply_override(text, sections);
  config.data.source = options.source;
  config.data.validate();
  return config.data;
}

text::BytePairModel learn(const Options& options, Terminal& terminal) {
  const data::DataConfig config = data_config(options);
  const auto source = data::open_source(config.source, config, terminal);
  const auto pattern = value_named<text::SplitPattern>(options.pattern).value();
  const text::PieceCounts pieces = data::count_pieces(*source, pattern, options.threads, terminal);
  terminal.line(
      fmt::format("pieces    {} different ones", format_count(static_cast<double>(pieces.counts().size()))));
  if (pieces.left_out() > 0)
    terminal.warning(fmt::format("{} pieces of more than {} bytes without a break are left out",
                                 pieces.left_out(), text::PieceCounts::kLongest));
  const auto vocabulary = static_cast<text::TokenId>(options.vocabulary);
  Progress progress(terminal, "merging", static_cast<uint64_t>(vocabulary - 257), "merges");
  text::BytePairModel model = text::train_bpe(pieces, vocabulary, kEndOfText, [&] { progress.add(1); });
  progress.done();
  return model;
}

int train(const Options& options) {
  Terminal terminal;
  interop::StagedFolder folder(options.folder);
  const text::BytePairModel model = learn(options, terminal);
  write_file_atomically(folder.path() / "tokenizer.json", text::write_tokenizer_json(model));
  const auto tokenizer = text::load_tokenizer(folder.path(), options.folder);
  folder.commit();
  terminal.line("tokenizer " + tokenizer_words(tokenizer->facts()));
  if (tokenizer->vocabulary() < options.vocabulary)
    terminal.warning(fmt::format("the text has no more pairs: {} ids in place of {}", tokenizer->vocabulary(),
                                 options.vocabulary));
  terminal.line(fmt::format("train with it: data.tokenizer={} model.vocab_size={}", options.folder,
                            (tokenizer->vocabulary() + 127) / 128 * 128));
  return 0;
}

}  // namespace

void add_tokenizer(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* tokenizer = app.add_subcommand("tokenizer", "Make a tokenizer of one's own text");
  tokenizer->require_subcommand(1);
  CLI::App* command = tokenizer->add_subcommand("train", "Learn a byte-level BPE, written as tokenizer.json");
  command->add_option("source", options->source, "Files, folders, hf://datasets/USER/NAME/PATH, https://...")
      ->required()
      ->type_name("INPUT");
  command->add_option("--vocab", options->vocabulary, "Ids in all: 256 bytes, merges, the end of a text")
      ->required()
      ->type_name("N")
      ->check(CLI::Range(int64_t{257}, int64_t{text::BytePairModel::kMostIds}));
  command->add_option("-o,--output", options->folder, "A new folder for tokenizer.json")
      ->required()
      ->type_name("FOLDER");
  command->add_option("--pattern", options->pattern, "How text is cut: docs/tokenizers.md")
      ->capture_default_str()
      ->check(CLI::IsMember(names_of<text::SplitPattern>()));
  command->add_option("--threads", options->threads, "That count; 0: all cores")
      ->capture_default_str()
      ->check(CLI::Range(0, 1024));
  add_settings(*command, options->overrides, "Settings of the section data", "data.key=value");
  command->footer(
      "Examples:\n"
      "  moe tokenizer train corpus/ --vocab 32000 --output my_tokenizer\n"
      "  moe tokenizer train notes.jsonl --vocab 8192 --output small --pattern o200k data.text_column=body\n"
      "The same text gives the same tokenizer on any number of threads. All of it is read, held-out text "
      "too.");
  command->callback([options, &chosen] { chosen = [options] { return train(*options); }; });
}

}  // namespace moe::cli
