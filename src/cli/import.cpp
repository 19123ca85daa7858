// SPDX-License-Identifier: MIT
// moe import: a folder of the Hugging Face format as a run, to evaluate it, write with it, or train it
// further.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/terminal.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/model_files.h"
#include "interop/export_weights.h"
#include "interop/hf_config.h"
#include "interop/staged_folder.h"
#include "interop/tokenizer_files.h"
#include "train/resume.h"
#include "train/run_folder.h"
#include "train/state.h"

namespace moe::cli {
namespace {

namespace fs = std::filesystem;

struct ImportOptions {
  std::string folder, output;
  std::vector<std::string> overrides;
};

// What must be as config.json says, whatever the settings are.
void check_same_model(const model::ModelConfig& wanted, const model::ModelConfig& found,
                      const std::string& where) {
  const auto check = [&](const char* name, auto member) {
    const auto needed = std::invoke(member, wanted), given = std::invoke(member, found);
    if (needed != given)
      throw UserError(where, fmt::format("model.{} {}, as config.json says", name, needed),
                      fmt::format("{}", given), "leave the shape of the model as it is");
  };
  check("d_model", &model::ModelConfig::d_model);
  check("n_layers", &model::ModelConfig::n_layers);
  check("n_heads", &model::ModelConfig::n_heads);
  check("n_kv_heads", &model::ModelConfig::n_kv_heads);
  check("head_dim", [](const model::ModelConfig& model) { return model.heads().dim; });
  check("attention_gate", &model::ModelConfig::attention_gate);
  check("qk_norm", [](const model::ModelConfig& model) { return name_of(model.qk_norm); });
  check("tie_embeddings", &model::ModelConfig::tie_embeddings);
  check("num_experts", &model::ModelConfig::num_experts);
  check("top_k", &model::ModelConfig::top_k);
  check("expert_intermediate_dim", &model::ModelConfig::expert_intermediate_dim);
  check("shared_expert_dim", &model::ModelConfig::shared_expert_dim);
  check("first_dense_layers", &model::ModelConfig::first_dense_layers);
  check("dense_intermediate_dim", &model::ModelConfig::dense_width);
  check("vocab_size", &model::ModelConfig::vocab_size);
  check("rope_theta", &model::ModelConfig::rope_theta);
  check("partial_rotary_factor", &model::ModelConfig::partial_rotary_factor);
  check("rope_scaling", [](const model::ModelConfig& model) { return name_of(model.rope_scaling); });
  check("rope_scaling_factor", &model::ModelConfig::rope_scaling_factor);
  if (rope_frequencies(wanted.rope()) != rope_frequencies(found.rope()) ||
      rope_scale(wanted.rope()) != rope_scale(found.rope()))
    throw UserError(where, "model.rope_* as config.json says", "other rotary frequencies",
                    "leave the shape of the model as it is");
  const int64_t T = std::min(wanted.max_seq_len, found.max_seq_len);
  for (int64_t layer = 0; layer < wanted.n_layers; ++layer)
    check("attention_window", [layer, T](const model::ModelConfig& model) {
      const int64_t window = model.window_of(layer);
      return window < T ? window : 0;  // the whole row
    });
  check("norm_eps", &model::ModelConfig::norm_eps);
  check("renormalize_top_k", &model::ModelConfig::renormalize_top_k);
  check("router_score", [](const model::ModelConfig& model) { return name_of(model.router_score); });
  check("router_scale", &model::ModelConfig::router_scale);
  check("router_bias_rate", &model::ModelConfig::router_bias_rate);
}

struct Start {
  const interop::Family* family;
  fs::path output;
  train::RunConfig config;
  bool guessed_tokenizer = false;  // neither the folder nor the command line says which
  train::SavedState state;         // step 0 and no text, unless the folder came from one of our runs
};

Start starting_point(const ImportOptions& options) {
  const fs::path folder = options.folder, file = folder / "config.json", saved = folder / kRunState;
  if (!fs::exists(file))
    throw UserError(file.string(), "the settings of a model",
                    fs::exists(folder) ? "no such file" : "no such folder",
                    "give a folder that `moe export` or save_pretrained wrote");
  const auto [family, model] = interop::read_hf_model(file.string(), read_file(file));
  Start start{.family = family, .output = options.output, .config = {}, .state = {}};
  auto sections = start.config.sections();
  if (fs::exists(saved)) {
    try {
      start.state = train::read_state(saved.string(), read_file(saved));
    } catch (const UserError& error) {
      throw UserError(error.where, error.expected, error.found,
                      "copy the file again, or remove it: without it the model is imported as a new run");
    }
    read_config_text(start.state.config, saved.string(), sections);
  } else {
    start.config.model = model;
  }
  // The folder's own, wherever the run had it from; an override may name another place.
  const std::string own = interop::tokenizer_in(folder);
  if (!own.empty()) start.config.data.tokenizer.name = own;
  start.guessed_tokenizer = own.empty() && !fs::exists(saved) &&
                            std::ranges::none_of(options.overrides, [](const std::string& assignment) {
                              return assignment.starts_with("data.tokenizer=");
                            });
  for (const std::string& assignment : options.overrides) apply_override(assignment, sections);
  if (options.output.empty())
    start.output = fs::path("runs") / (fs::absolute(folder) / "").lexically_normal().parent_path().filename();
  put_run_in(start.output, start.config);
  start.config.resolve_places();
  start.config.validate();
  if (fs::exists(saved))
    train::expect_tokenizer(saved.string(), start.state, start.config.data.tokenizer.facts());
  check_same_model(model, start.config.model, fs::exists(saved) ? saved.string() : "command line");
  return start;
}

int run(const ImportOptions& options) {
  const Start start = starting_point(options);
  const DType master = train::weight_types(start.config.training).master;
  const interop::ImportedWeights weights(options.folder, start.config.model, master, *start.family);
  Terminal terminal;
  interop::StagedFolder run(start.output);
  note_family(run.path(), *start.family);
  save_only_checkpoint(run.path(), weights.streams(), start.state, start.config);
  train::RunFolder::fill_settings(run.path(), start.config);  // they make it a run
  run.commit();
  if (start.guessed_tokenizer)
    terminal.warning(
        fmt::format("{}: no tokenizer that moe reads is there, so GPT-2's is the run's. If it is another "
                    "one, import again with data.tokenizer=PATH",
                    options.folder));
  const std::string path = start.output.string();
  terminal.line(
      fmt::format("{}: {}, step {}, weights {} in {}", path, start.family->name, start.state.step,
                  master == DType::f32 ? "bit for bit as" : "in bf16 (training.master_weights) of those",
                  options.folder));
  terminal.line(
      fmt::format("  moe eval {0} --source TEXT\n  moe generate {0} --prompt \"...\"\n"
                  "  moe train --resume {0}{1}   (the optimizer starts anew)",
                  path, start.state.source.empty() ? " data.source=TEXT" : ""));
  return 0;
}

}  // namespace

void add_import(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<ImportOptions>();
  CLI::App* command = app.add_subcommand("import", "Make a run of an exported model, to go on from there");
  command->add_option("folder", options->folder, "A folder that `moe export` or save_pretrained wrote")
      ->required()
      ->type_name("DIR");
  command->add_option("--output", options->output, "Folder for the run; default: runs/ and the name of DIR")
      ->type_name("RUN");
  add_settings(*command, options->overrides, "Settings of the run");
  command->footer(
      "Examples:\n"
      "  moe import exported/ --output runs/again\n"
      "  moe import downloaded/ --output runs/new data.source=my_texts/ training.max_steps=2000\n"
      "Families: " +
      interop::family_names() +
      " (docs/interop.md).\n"
      "With the moe_state.json of an export the run goes on at the same step and place in the text, with the "
      "same\n"
      "settings; without it, at step 0 of a new run. Moments of the optimizer are not exported: they start "
      "at zero.");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace moe::cli
