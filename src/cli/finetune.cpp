// SPDX-License-Identifier: MIT
// moe finetune: a new run that begins with the weights of another one, at step 0, with the defaults of
// training.stage sft.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/terminal.h"
#include "checkpoint/mean.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/model_files.h"
#include "cli/precision.h"
#include "cli/presets.h"
#include "interop/imported_model.h"
#include "interop/staged_folder.h"
#include "text/chat.h"
#include "train/run_folder.h"

namespace moe::cli {
namespace {

namespace fs = std::filesystem;

struct FinetuneOptions {
  std::string base, output;
  std::vector<fs::path> config;
  std::vector<std::string> overrides;
  bool average = false;
};

// The settings say how it is trained, not what it is. Rows may be longer or shorter.
void expect_same_model(const TrainedModel& base, const train::RunConfig& config) {
  model::ModelConfig before = base.config.model;
  before.router_bias = config.model.router_bias;  // whose biases stay, whatever their rate was
  before.router_bias_rate = config.model.router_bias_rate;
  const std::string difference =
      model_difference(before, config.model,
                       {&model::ModelConfig::capacity_factor, &model::ModelConfig::aux_loss_weight,
                        &model::ModelConfig::z_loss_weight, &model::ModelConfig::sequence_loss_weight});
  if (!difference.empty())
    throw UserError("settings", "the model of " + base.checkpoint.folder().string(), difference,
                    "leave it out: the weights are those of the base model");
  const text::TokenizerFacts ours = base.config.data.tokenizer.facts(),
                             theirs = config.data.tokenizer.facts();
  if (ours.fingerprint != theirs.fingerprint)
    throw UserError("data.tokenizer", std::string(ours.name), std::string(theirs.name),
                    "leave it out: the weights mean the tokens of the base model's own");
}

train::RunConfig settings_of(const FinetuneOptions& options, const TrainedModel& base) {
  train::RunConfig config = base.config;
  const data::DataConfig before = config.data;
  config.data = {};  // the text of pre-training is none to answer in
  config.data.tokenizer = before.tokenizer;
  config.data.cache_dir = before.cache_dir;
  config.training.max_steps = 1000;
  config.training.run_name.clear();
  config.training.tasks.clear();
  config.set_sft_defaults();
  auto sections = config.sections();
  for (const auto& file : read_configurations(options.config))
    read_config_text(file.text, file.name, sections);
  for (const std::string& assignment : options.overrides) apply_override(assignment, sections);
  settle_precision(config);
  put_run_in(options.output, config);
  config.resolve_places();
  config.data.row_length = config.model.max_seq_len;
  // Its own template, where it came with one or has learned from one.
  if (const fs::path chat = run_of(base.checkpoint) / train::kChatFolder;
      config.data.chat_template == "auto" && text::has_kept_chat(chat))
    config.data.kept_chat = chat;
  config.data.require_text();
  config.validate();
  return config;
}

int finetune(const FinetuneOptions& options) {
  Terminal terminal;
  const TrainedModel base = open_model(options.base, {}, options.average);
  const train::RunConfig config = settings_of(options, base);
  expect_same_model(base, config);
  interop::StagedFolder folder(options.output);
  const checkpoint::Safetensors& weights = base.checkpoint.file(base.weights);
  uint64_t bytes = 0;
  for (const auto& entry : weights.entries()) bytes += entry.end - entry.begin;
  Progress progress(terminal, "copying weights", bytes, "bytes");
  const std::string where = (base.checkpoint.folder() / base.weights).string();
  save_only_checkpoint(
      folder.path(),
      with_progress(checkpoint::mean_streams({{.where = where, .file = &weights, .weight = 1}}), progress),
      {}, config);
  progress.done();
  write_file_atomically(
      folder.path() / "finetune.json",
      OrderedJson{{"base", fs::absolute(base.checkpoint.folder()).lexically_normal().string()},
                  {"step", base.checkpoint.step()}}
              .dump(1) +
          "\n");
  if (const auto imported = interop::read_imported(run_of(base.checkpoint)))
    if (const interop::Family* family = interop::find_family(imported->family))
      interop::keep_imported_of(folder.path(), run_of(base.checkpoint), *family);
  train::RunFolder::fill_settings(folder.path(), config);  // they make it a run
  folder.commit();
  terminal.line(
      fmt::format("{0}: the weights of {1}, to learn conversations from {2}\n"
                  "  moe data inspect --config {0}/config.yaml\n"
                  "  moe train --resume {0}",
                  options.output, where, fmt::join(config.data.source, ", ")));
  return 0;
}

}  // namespace

void add_finetune(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<FinetuneOptions>();
  CLI::App* command = app.add_subcommand("finetune", "Make a run that teaches a model to answer");
  command->add_option("base", options->base, "The model: a run, or a checkpoint of one")
      ->required()
      ->type_name("RUN");
  command->add_option("-o,--output", options->output, "Folder for the run that is made")
      ->required()
      ->type_name("RUN");
  add_config_files(*command, options->config, "Settings over those of training.stage sft");
  add_average(*command, options->average);
  add_settings(*command, options->overrides, "Settings of the run");
  command->footer(
      "Examples:\n"
      "  moe finetune runs/base -o runs/chat data.source=conversations.jsonl\n"
      "  moe train --resume runs/chat\n"
      "The model keeps its shape and its tokenizer. docs/finetuning.md has formats, templates and values.");
  command->callback([options, &chosen] { chosen = [options] { return finetune(*options); }; });
}

}  // namespace moe::cli
