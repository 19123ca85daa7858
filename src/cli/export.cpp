// SPDX-License-Identifier: MIT
// moe export: a checkpoint as a folder that transformers loads, with no code of its own.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/format.h"
#include "base/progress.h"
#include "base/secrets.h"
#include "base/terminal.h"
#include "base/version.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/model_files.h"
#include "cli/run_chat.h"
#include "cli/verify.h"
#include "interop/chat_files.h"
#include "interop/export_weights.h"
#include "interop/hf_config.h"
#include "interop/imported_model.h"
#include "interop/llama_cpp.h"
#include "interop/model_card.h"
#include "interop/staged_folder.h"
#include "interop/tokenizer_files.h"
#include "text/tokenizer.h"
#include "train/run_folder.h"
#include "train/state.h"

namespace moe::cli {
namespace {

namespace fs = std::filesystem;

enum class ExportType : uint8_t { automatic, f32, bf16, f16 };
constexpr auto choices_of(ExportType) {
  return choices<ExportType>({{ExportType::automatic, "auto"},
                              {ExportType::f32, "f32"},
                              {ExportType::bf16, "bf16"},
                              {ExportType::f16, "f16"}});
}

struct ExportOptions {
  std::string model, format = "hf", folder, program, family,
                     dtype = std::string(name_of(ExportType::automatic)), logits;
  std::vector<std::string> prompts;
  double shard_gb = 5;
  bool verify = false, without_run = false, average = false;
  std::vector<std::string> overrides;

  bool for_llama_cpp() const { return !program.empty(); }  // the only one so far
};

// imported: of the same family.
interop::StoredTypes stored_types(const ExportOptions& options, const train::RunConfig& config,
                                  const interop::ImportedModel* imported) {
  switch (value_named<ExportType>(options.dtype).value()) {
    case ExportType::automatic:
      return imported != nullptr && imported->types ? *imported->types
                                                    : train::arithmetic(config.training).type;
    case ExportType::f32:
      return DType::f32;
    case ExportType::bf16:
      return DType::bf16;
    case ExportType::f16:
      return DType::f16;
  }
  CHECK(false, "a type without a DType");
}

std::string precision_of(const train::TrainingConfig& training) {
  switch (training.mixed_precision) {
    case train::MixedPrecision::no:
      return "f32";
    case train::MixedPrecision::tf32:
    case train::MixedPrecision::bf16:
    case train::MixedPrecision::fp16:
    case train::MixedPrecision::fp8:
      return fmt::format("{}, {} master weights", name_of(training.mixed_precision),
                         name_of(training.master_weights));
    case train::MixedPrecision::automatic:
      CHECK(false, "training.mixed_precision is still auto");
  }
  CHECK(false, "a precision without words");
}

interop::CardFacts card_facts(const TrainedModel& model, DType type, bool imported) {
  const train::RunConfig& config = model.config;
  const train::TrainingConfig& training = config.training;
  const fs::path run = run_of(model.checkpoint);
  interop::CardFacts facts;
  facts.tokenizer = config.data.tokenizer.facts();
  facts.name = fs::absolute(run).filename().string();
  facts.program = model.checkpoint.program();
  facts.dtype = interop::hf_name_of(type);
  facts.step = model.checkpoint.step();
  facts.imported = imported;
  for (const std::string& source : config.data.mixture.empty() ? config.data.source : config.data.mixture)
    facts.sources.push_back(without_secrets(source));
  const int64_t targets =
      training.batch_size * training.gradient_accumulation_steps * config.model.max_seq_len;
  facts.training = {{"tokens in a step", fmt::format("{}", targets)},
                    {"optimizer", fmt::format("{}, peak rate {}, {}", name_of(training.optimizer),
                                              training.learning_rate, name_of(training.lr_schedule))},
                    {"precision", precision_of(training)},
                    {"capacity factor", fmt::format("{}", config.model.capacity_factor)}};
  if (fs::exists(run / "metrics.jsonl"))
    facts.figures = interop::last_figures(
        read_file(run / "metrics.jsonl"), facts.step,
        {"tokens", "loss", "validation_loss", "validation_perplexity", "validation_bits_per_byte", "tasks/"});
  return facts;
}

// The one that was asked for, or that the run was imported from, or our own.
const interop::Family& chosen_family(const ExportOptions& options, const fs::path& run,
                                     const std::optional<interop::ImportedModel>& imported) {
  const std::string name = options.family.empty() && imported ? imported->family : options.family;
  if (name.empty()) return interop::own_family();
  const interop::Family* family = interop::find_family(name);
  if (family == nullptr)
    throw UserError((run / "imported.json").string(), "one of " + interop::family_names(), name,
                    "give --family");
  return *family;
}

// What the run was imported with goes before what we would write, where it still holds: settings in the same
// family, all that belongs to the tokenizer with the same tokenizer.
void write_small_files(const fs::path& folder, const TrainedModel& model, const interop::Family& family,
                       const interop::StoredTypes& types,
                       const std::optional<interop::ImportedModel>& imported, const ExportOptions& options) {
  const model::ModelConfig& config = model.config.model;
  const bool zero_blocks = options.for_llama_cpp() && family.zero_blocks;
  const auto opened = model.config.data.tokenizer.open();
  const text::TokenizerFacts& tokenizer = opened->facts();
  const auto write = [&](const std::string& name, std::string_view text) {
    write_file_atomically(folder / name, text);
  };
  const bool same_tokenizer =
      imported && imported->tokenizer == text::fingerprint_text(tokenizer.fingerprint);
  const std::shared_ptr<const text::Chat> chat = taught_chat(model);
  std::vector<interop::TokenizerFile> files = interop::tokenizer_files(*opened, config.max_seq_len);
  files.push_back({"generation_config.json",
                   interop::hf_generation_json(config, chat ? chat->vocabulary() : tokenizer.vocabulary,
                                               tokenizer.end_of_text)});
  if (same_tokenizer) interop::replace_files(files, imported->files);
  if (chat && (interop::add_chat(files, *chat) || !chat->added().empty()))
    text::keep_chat(folder, *chat);  // for `moe import`
  for (const auto& [name, text] : files)
    if (name != "config.json") write(name, text);
  const std::string* const settings = imported ? imported->file("config.json") : nullptr;
  write("config.json",
        settings != nullptr && imported->family == family.name
            ? interop::config_like(
                  "imported/config.json", *settings, config, family,
                  types.as_imported ? std::nullopt : std::optional(types.all),
                  same_tokenizer ? std::nullopt : std::optional<int64_t>(tokenizer.end_of_text), zero_blocks)
            : interop::hf_config_json(config, types.all, tokenizer.end_of_text, family, zero_blocks));
  interop::CardFacts facts = card_facts(model, types.all, imported.has_value());
  facts.answers = chat != nullptr;
  if (options.for_llama_cpp()) facts.llama_cpp = interop::llama_cpp_card(config, family, *opened, chat.get());
  write("README.md", interop::model_card(config, facts, family));
  if (!options.without_run) write(kRunState, without_secrets(model.checkpoint.state_json()));
}

// For a comparison with other programs.
void write_logits(const std::string& path, const Prompts& ids,
                  const std::vector<std::vector<float>>& logits) {
  std::vector<checkpoint::TensorStream> streams;
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto T = std::ssize(ids[i]);
    const auto add = [&](const char* name, DType type, std::vector<int64_t> shape, const auto& values) {
      streams.push_back({fmt::format("{}.{}", name, i), type, std::move(shape), [&values](const auto& sink) {
                           sink(values.data(), values.size() * sizeof(values[0]));
                         }});
    };
    add("ids", DType::i32, {T}, ids[i]);
    add("logits", DType::f32, {T, std::ssize(logits[i]) / T}, logits[i]);
  }
  checkpoint::write_safetensors(path, streams);
}

// The files against the checkpoint: their tensors; logits of the prompts from both, the files read back as
// `moe import` does; and those by a second way.
void verify(const TrainedModel& model, const fs::path& folder, const ExportOptions& options,
            Terminal& terminal) {
  verify_tensors_of(model, folder, interop::Direction::exported, terminal);
  const train::RunConfig& config = model.config;
  const Prompts prompts = prompts_of(options.prompts, *config.data.tokenizer.open());
  PromptModel computed(config, prompts);
  load_weights(computed.weights(), model, computed.backend());
  const auto before = computed.logits();
  if (!options.logits.empty()) write_logits(options.logits, prompts, before);
  const std::string config_file = (folder / "config.json").string();
  const auto [family, exported] = interop::read_hf_model(config_file, read_file(config_file));
  const interop::ImportedWeights files(folder, exported, train::weight_types(config.training).master,
                                       *family);
  load_weights(computed.weights(), files, computed.backend());
  const auto after = computed.logits();
  double difference = 0, largest = 0;
  int64_t tokens = 0;
  for (size_t p = 0; p < before.size(); ++p) {
    tokens += std::ssize(prompts[p]);
    for (size_t i = 0; i < before[p].size(); ++i) {
      const double x = before[p][i], y = after[p][i];
      difference = std::max(difference, std::abs(x - y));
      largest = std::max(largest, std::abs(x));
    }
  }
  terminal.line(
      fmt::format("          logits of {} tokens from the exported files: largest difference {:.3g}, "
                  "largest logit {:.3g}",
                  tokens, difference, largest));
  // In f32 the files hold the same bits. Rounding the matrices once to bf16 is what was asked for: 2^-9 of
  // each weight, and a few times that of a logit; a tensor in the wrong place changes logits by their own
  // size.
  const bool exact =
      std::ranges::all_of(files.types(), [](const auto& one) { return one.second == DType::f32; });
  const double bound = exact ? 0 : 0.25 * largest;
  if (!(difference <= bound))
    throw UserError(folder.string(), fmt::format("logits within {:.3g} of the checkpoint's", bound),
                    fmt::format("{:.3g}", difference), "this is a bug: please report it");
  verify_logits(after, prompts, config, folder, terminal);
}

// What a user of llama.cpp must know at once; the model card has the rest.
void say_llama_cpp(const TrainedModel& model, const ExportOptions& options, const interop::Family& family,
                   const interop::ExportedWeights& weights, Terminal& terminal) {
  const std::string what =
      family.zero_blocks ? fmt::format("two blocks of zeros behind the last layer, {}, which change no logit",
                                       format_bytes(static_cast<double>(weights.zero_bytes)))
                         : family.name + " needs nothing more";
  terminal.line(fmt::format(
      "for llama.cpp: {}\n  convert_hf_to_gguf.py {} --outtype f16   (README.md there says the rest)", what,
      options.folder));
  const auto tokenizer = model.config.data.tokenizer.open();
  if (!interop::in_llama_cpp(*tokenizer))
    terminal.warning(
        fmt::format("{}: llama.cpp's converter knows GPT-2's tokenizer and those of its list, each by its "
                    "ids. If it stops "
                    "at this one, {} (\"BPE pre-tokenizer was not recognized\"), README.md there has the "
                    "command that goes "
                    "on",
                    options.folder, tokenizer->facts().name));
}

int run(const ExportOptions& options) {
  const TrainedModel model = open_model(options.model, options.overrides, options.average);
  const auto imported = interop::read_imported(run_of(model.checkpoint));
  const interop::Family& family = chosen_family(options, run_of(model.checkpoint), imported);
  interop::check_exportable(model.config.model, family);
  if (options.for_llama_cpp())
    interop::check_llama_cpp(model.config.model, family, *model.config.data.tokenizer.open());
  const interop::StoredTypes types =
      stored_types(options, model.config, imported && imported->family == family.name ? &*imported : nullptr);
  Terminal terminal;
  interop::StagedFolder staged(options.folder);
  Progress progress(terminal, "exporting", 0, "bytes");
  const interop::ExportedWeights weights = interop::export_weights(
      staged.path(), model.config.model, model.checkpoint.file(model.weights), types,
      static_cast<uint64_t>(options.shard_gb * 1e9), [&](uint64_t bytes) { progress.add(bytes); }, family,
      options.for_llama_cpp());
  progress.done();
  write_small_files(staged.path(), model, family, types, imported, options);
  if (options.verify) verify(model, staged.path(), options, terminal);
  staged.commit();
  terminal.line(fmt::format("{}: {}, step {}, {} of weights in {} file{}", options.folder, family.name,
                            model.checkpoint.step(), format_bytes(static_cast<double>(weights.bytes)),
                            weights.files, weights.files == 1 ? "" : "s"));
  if (weights.rounded_norms > 0)
    terminal.line(
        fmt::format("{} norm weights below 0.5 are rounded by at most 2^-25 there (kept less one); "
                    "moe_norms.safetensors has them exactly, for `moe import`",
                    weights.rounded_norms));
  if (options.for_llama_cpp()) say_llama_cpp(model, options, family, weights, terminal);
  return 0;
}

}  // namespace

void add_export(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* command = app.add_subcommand("export", "Write a trained model as files that transformers loads");
  command->add_option("model", options->model, "A run, or one checkpoint of it")
      ->required()
      ->type_name("RUN");
  command
      ->add_option("folder,-o,--output", options->folder,
                   "A new folder for the files, by its place or with -o")
      ->required()
      ->type_name("DIR");
  command->add_option("--to", options->format, "hf: the Hugging Face format")
      ->capture_default_str()
      ->check(CLI::IsMember({"hf"}));
  command
      ->add_option("--for", options->program, "llama.cpp: its converter and program take the folder as it is")
      ->check(CLI::IsMember({"llama.cpp"}));
  std::vector<std::string> names;
  for (const interop::Family& family : interop::families()) names.push_back(family.name);
  command
      ->add_option("--family", options->family,
                   "Whose names; default: as imported, or else " + interop::own_family().name)
      ->check(CLI::IsMember(names));
  command
      ->add_option("--dtype", options->dtype,
                   "Type of tensors: f32, bf16, f16; auto: as imported, or as computed")
      ->capture_default_str()
      ->check(CLI::IsMember(names_of<ExportType>()));
  command->add_option("--shard-gb", options->shard_gb, "Most gigabytes (10^9 bytes) in one file")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->add_flag("--verify", options->verify,
                    "Read all tensors back, and compare logits of a prompt by two ways");
  command->add_option("--verify-prompt", options->prompts, "That prompt; may be given again")
      ->allow_extra_args(false);
  command
      ->add_option("--logits", options->logits,
                   "With --verify: the prompts' ids and logits, for other programs")
      ->type_name("FILE.safetensors");
  command->add_flag(
      "--without-run", options->without_run,
      "Leave out moe_state.json: the run's settings (paths of its text, too) and its place in the text");
  add_average(*command, options->average);
  add_settings(*command, options->overrides, "Settings that replace those of the run");
  command->footer(
      "Examples:\n"
      "  moe export runs/latest exported/ --verify\n"
      "  moe export runs/latest/checkpoints/step-00000400 exported/ --dtype bf16 --shard-gb 2\n"
      "  moe export runs/imported exported/ --family qwen3_moe\n"
      "  moe export runs/latest exported/ --for llama.cpp --verify\n"
      "The folder appears when it is complete. `moe import` brings it back, bit for bit (bf16: rounded "
      "once).");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace moe::cli
