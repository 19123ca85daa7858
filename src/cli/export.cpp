// SPDX-License-Identifier: MIT
// moe export: a checkpoint as a folder that transformers loads, with no code of its own.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/format.h"
#include "base/progress.h"
#include "base/terminal.h"
#include "base/version.h"
#include "cli/commands.h"
#include "cli/model_files.h"
#include "exchange/export_weights.h"
#include "exchange/hf_config.h"
#include "exchange/model_card.h"
#include "exchange/staged_folder.h"
#include "exchange/tokenizer_files.h"
#include "text/tokenizer.h"
#include "text/vocabulary.h"
#include "train/run_folder.h"
#include "train/state.h"

namespace moe::cli {
namespace {

namespace fs = std::filesystem;

struct ExportOptions {
  std::string model, format = "hf", folder, dtype = "auto";
  std::string prompt = "The lantern stood on the table by the window, and its light fell on an open book.";
  double shard_gb = 5;
  bool verify = false, without_run = false;
  std::vector<std::string> overrides;
};

DType stored_type(const ExportOptions& options, const RunConfig& config) {
  if (options.dtype == "auto") return arithmetic(config.training).type;
  return options.dtype == "bf16" ? DType::bf16 : DType::f32;
}

CardFacts card_facts(const TrainedModel& model, DType type) {
  const RunConfig& config = model.config;
  const TrainingConfig& training = config.training;
  const fs::path run = run_of(model.checkpoint);
  CardFacts facts;
  facts.name = fs::absolute(run).filename().string();
  facts.program = model.checkpoint.program();
  facts.dtype = type == DType::bf16 ? "bfloat16" : "float32";
  facts.step = model.checkpoint.step();
  facts.sources = config.data.mixture.empty() ? config.data.source : config.data.mixture;
  const int64_t targets =
      training.batch_size * training.gradient_accumulation_steps * config.model.max_seq_len;
  facts.training = {{"tokens in a step", fmt::format("{}", targets)},
                    {"optimizer", fmt::format("{}, peak rate {}, {}", training.optimizer,
                                              training.learning_rate, training.lr_schedule)},
                    {"precision", training.mixed_precision == "bf16" ? "bf16 with f32 masters" : "f32"},
                    {"capacity factor", fmt::format("{}", config.model.capacity_factor)}};
  if (fs::exists(run / "metrics.jsonl"))
    facts.figures = last_figures(
        read_file(run / "metrics.jsonl"), facts.step,
        {"tokens", "loss", "validation_loss", "validation_perplexity", "validation_bits_per_byte"});
  return facts;
}

void write_small_files(const fs::path& folder, const TrainedModel& model, DType type, bool without_run) {
  const ModelConfig& config = model.config.model;
  const std::string_view merges = gpt2_merges();
  const auto write = [&](const char* name, std::string_view text) {
    write_file_atomically(folder / name, text);
  };
  write("config.json", hf_config_json(config, type, Tokenizer::kEndOfText));
  write("generation_config.json", hf_generation_json(config, Tokenizer::kVocabulary, Tokenizer::kEndOfText));
  write("vocab.json", vocabulary_json(merges));
  write("merges.txt", merges);
  write("tokenizer_config.json", tokenizer_config_json(config.max_seq_len));
  write("README.md", model_card(config, card_facts(model, type)));
  if (!without_run) write(kRunState, model.checkpoint.state_json());
}

// A model for one row of tokens.
struct RowModel {
  RowModel(const ModelConfig& config, const WeightTypes& types, const MicroBatch& shape, Arena& arena)
      : weights(config, types, Purpose::inference, arena), transformer(config, shape, weights, arena) {}
  Weights weights;
  Transformer transformer;
};

std::vector<float> logits(RowModel& model, const std::vector<int32_t>& ids, Backend& backend) {
  const auto N = static_cast<int64_t>(ids.size());
  const std::vector<int32_t> none(ids.size(), -1), start(ids.size(), 0);
  model.transformer.upload(*backend.device, ids.data(), none.data(), start.data());
  model.transformer.forward(*backend.ops);
  const Tensor rows = model.transformer.logits(0, N, *backend.ops);
  std::vector<float> values(static_cast<size_t>(rows.numel()));
  if (rows.dtype() == DType::f32) {
    backend.device->to_host(values.data(), rows);
  } else {
    std::vector<bf16> rounded(values.size());
    backend.device->to_host(rounded.data(), rows);
    std::transform(rounded.begin(), rounded.end(), values.begin(),
                   [](bf16 x) { return static_cast<float>(x); });
  }
  return values;
}

// Logits of the prompt from the checkpoint and from the exported files, read back as `moe import` does.
void verify(const TrainedModel& model, const fs::path& folder, const ExportOptions& options,
            Terminal& terminal) {
  const RunConfig& config = model.config;
  Backend backend = make_backend(config.training.device, static_cast<int>(config.training.threads),
                                 arithmetic(config.training));
  const Tokenizer tokenizer;
  Tokenizer::Encoder encoder;
  std::vector<int32_t> ids{Tokenizer::kEndOfText};
  tokenizer.encode(options.prompt, ids, encoder);
  const auto T = static_cast<int64_t>(ids.size());
  const WeightTypes types = weight_types(config.training);
  const MicroBatch shape{.B = 1,
                         .T = T,
                         .type = arithmetic(config.training).type,
                         .vocabulary = Tokenizer::kVocabulary,
                         .head_rows = T};
  const auto [arena, row] = place<RowModel>(*backend.device, config.model, types, shape);
  row->transformer.prepare(*backend.device);
  load_weights(row->weights, model.checkpoint, backend);
  const std::vector<float> before = logits(*row, ids, backend);
  const ImportedWeights imported(
      folder, read_hf_config((folder / "config.json").string(), read_file(folder / "config.json")),
      types.master);
  load_weights(row->weights, imported, backend);
  const std::vector<float> after = logits(*row, ids, backend);
  double difference = 0, largest = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    difference =
        std::max(difference, std::abs(static_cast<double>(before[i]) - static_cast<double>(after[i])));
    largest = std::max(largest, std::abs(static_cast<double>(before[i])));
  }
  terminal.line(
      fmt::format("verified  logits of {} tokens from the exported files: largest difference {:.3g}, "
                  "largest logit {:.3g}",
                  T, difference, largest));
  if (!(difference <= (stored_type(options, config) == DType::f32 ? 0.0 : 0.05) * largest + 0.0))
    throw UserError(folder.string(), "the logits of the checkpoint", "others", "please report this");
}

int run(const ExportOptions& options) {
  const TrainedModel model = open_model(options.model, options.overrides);
  const DType type = stored_type(options, model.config);
  Terminal terminal;
  StagedFolder staged(options.folder);
  Progress progress(terminal, "exporting", 0, "bytes");
  const ExportedWeights weights = export_weights(
      staged.path(), model.config.model, model.checkpoint.file("model.safetensors"), type,
      static_cast<uint64_t>(options.shard_gb * 1e9), [&](uint64_t bytes) { progress.add(bytes); });
  progress.done();
  write_small_files(staged.path(), model, type, options.without_run);
  if (options.verify) verify(model, staged.path(), options, terminal);
  staged.commit();
  terminal.line(fmt::format("{}: step {}, {} of weights in {} file{}", options.folder,
                            model.checkpoint.step(), format_bytes(static_cast<double>(weights.bytes)),
                            weights.files, weights.files == 1 ? "" : "s"));
  if (weights.rounded_norms > 0)
    terminal.line(
        fmt::format("{} norm weights below 0.5 are rounded by at most 2^-25 there (kept less one); "
                    "moe_norms.safetensors has them exactly, for `moe import`",
                    weights.rounded_norms));
  return 0;
}

}  // namespace

void add_export(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* command = app.add_subcommand("export", "Write a trained model as files that transformers loads");
  command->add_option("model", options->model, "A run, or one checkpoint of it")
      ->required()
      ->type_name("RUN");
  command->add_option("folder", options->folder, "A new folder for the files")->required()->type_name("DIR");
  command->add_option("--to", options->format, "hf: the Hugging Face format, as Qwen3NextForCausalLM")
      ->capture_default_str()
      ->check(CLI::IsMember({"hf"}));
  command
      ->add_option("--dtype", options->dtype, "Type of the matrices: f32, bf16, or auto, as it was trained")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "f32", "bf16"}));
  command->add_option("--shard-gb", options->shard_gb, "Most gigabytes (10^9 bytes) in one file")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->add_flag(
      "--verify", options->verify,
      "Compute the logits of a prompt from the exported files, too, and print the largest difference");
  command->add_option("--verify-prompt", options->prompt, "That prompt");
  command->add_flag(
      "--without-run", options->without_run,
      "Leave out moe_state.json: the run's settings (paths of its text, too) and its place in the text");
  command->add_option("overrides", options->overrides, "Settings that replace those of the run")
      ->type_name("section.key=value");
  command->footer(
      "Examples:\n"
      "  moe export runs/latest exported/ --verify\n"
      "  moe export runs/latest/checkpoints/step-00000400 exported/ --dtype bf16 --shard-gb 2\n"
      "The folder appears when it is complete. `moe import` brings it back, bit for bit (bf16: rounded "
      "once).");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace moe::cli
