// SPDX-License-Identifier: MIT
// moe plan: what a configuration costs, before anything runs.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "base/error.h"
#include "base/format.h"
#include "base/terminal.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/gpu_option.h"
#include "cli/plan_facts.h"
#include "cli/plan_fit.h"
#include "cli/plan_layers.h"
#include "cli/plan_model.h"
#include "cli/plan_recipe.h"
#include "cli/precision.h"
#include "cli/presets.h"
#include "cli/tokenizer_words.h"
#include "model/flops.h"
#include "train/micro_batches.h"
#include "train/state.h"

namespace moe::cli {
namespace {

struct Options {
  std::vector<std::filesystem::path> config;
  std::string model;  // of others, in place of settings
  std::vector<std::string> overrides;
  bool settings = false, recipe = false, json = false;
  double tokens = 0;  // of the recipe; 0: those of the run
  int gpus = 1;
  std::string gpu;
};

void print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
}

// The price of writing behind training.
std::string copy_of(const train::TrainingConfig& training, double checkpoint, int ranks) {
  if (!training.checkpoint_in_background || training.checkpoint_every == 0) return "";
  return fmt::format(", written from a copy of {} in the memory of the host{}",
                     format_bytes(checkpoint / ranks), ranks == 1 ? "" : " for each rank");
}

// To plan is not to train: a configuration for a GPU can be planned where there is none.
// quiet: without a line about it.
backend::Backend planning_backend(const train::RunConfig& config, const train::GpuRates* named, bool quiet) {
  const auto make = [&](DeviceKind device) {
    return backend::make_backend(device, static_cast<int>(config.training.threads),
                                 train::arithmetic(config.training));
  };
  if (named != nullptr) return make(DeviceKind::cpu);
  try {
    return make(config.training.device);
  } catch (const UserError& error) {
    if (!quiet)
      print(fmt::format(
          "device         planned on the CPU, since this machine has none for training.device={}: {}\n",
          name_of(config.training.device), error.found));
    return make(DeviceKind::cpu);
  }
}

void print_verdict(const PlanFacts& facts, const std::string& where, backend::Backend& backend) {
  print(fmt::format("verdict        {} on {}\n", facts.fits() ? "fits" : "does not fit", where));
  if (facts.fits()) return;
  print(fmt::format("  to need less: {}\n", train::kLessMemory));
  print(ways_to_fit(facts.config, facts.ranks, facts.free, *backend.device, *backend.ops));
}

// What each token goes through beside what the router chooses.
std::string dense_parts(const model::ModelConfig& model) {
  std::string text;
  if (model.shared_expert_dim > 0)
    text = fmt::format("a shared expert of width {}, {}", model.shared_expert_dim,
                       model.shared_expert_gate ? "gated" : "without a gate");
  if (model.first_dense_layers > 0)
    text += fmt::format("{}{} of {} layers without experts, of width {}", text.empty() ? "" : "; ",
                        model.first_dense_layers, model.n_layers, model.dense_width());
  return text;
}

void print_model(const PlanFacts& facts) {
  const train::RunConfig& config = facts.config;
  print(fmt::format("parameters     {} total ({}), {} active per token ({})\n", facts.parameters.total,
                    format_count(static_cast<double>(facts.parameters.total)), facts.parameters.active,
                    format_count(static_cast<double>(facts.parameters.active))));
  const Capacity capacity =
      model::training_capacity(config.model, train::micro_batch(config, config.vocabulary()));
  if (config.model.moe_layers() > 0)
    print(fmt::format(
        "routing        {} of {} experts, {}\n", config.model.top_k, config.model.num_experts,
        config.model.capacity_factor == 0
            ? std::string("dropless")
            : fmt::format("at most {} tokens of a {} for an expert (capacity factor {})", capacity.rows,
                          capacity.tokens == 0 ? "micro-batch" : "row", config.model.capacity_factor)));
  if (const std::string dense = dense_parts(config.model); !dense.empty())
    print(fmt::format("dense          {}\n", dense));
  print(fmt::format("step           {} tokens ({}), {} steps, {} tokens in all\n",
                    config.tokens_of_step(facts.ranks), train::micro_batch_words(config, facts.ranks),
                    config.training.max_steps, format_count(static_cast<double>(facts.tokens()))));
  const model::FlopsPerToken& flops = facts.flops;
  print(fmt::format("work           {}FLOP per token, forward and backward\n", format_count(flops.total())));
  const auto share = [&](const char* name, double part) {
    print(fmt::format("  {:<14} {:5.1f} %\n", name, 100 * part / flops.total()));
  };
  share("projections", flops.projections);
  share("attention", flops.attention);
  share("router", flops.router);
  share("experts", flops.experts);
  if (flops.dense > 0) share("dense", flops.dense);
  share("head", flops.head);
}

// The whole run, where a step's time is predicted.
void print_time(const PlanFacts& facts) {
  for (const PlannedLayout& one : facts.layouts)
    if (one.chosen && one.time)
      print(fmt::format(
          "time           {} for {} steps, by this prediction\n",
          format_duration(one.time->total() * static_cast<double>(facts.config.training.max_steps)),
          facts.config.training.max_steps));
}

// model: lines about a model of others; "" of settings. layers: lines about what set what.
void print_plan(const PlanFacts& facts, const std::string& model, const std::string& layers,
                const std::string& precision, bool named, backend::Backend& backend) {
  const train::RunConfig& config = facts.config;
  print(model);
  print(layers);
  print(model.empty()
            ? fmt::format("tokenizer      {}\n", tokenizer_words(config.data.tokenizer.facts()))
            : fmt::format("tokenizer      not read; {} ids, as config.json says\n", config.vocabulary()));
  if (!precision.empty()) print(fmt::format("precision      {}\n", precision));
  print_model(facts);
  if (!facts.layouts.empty()) print(layouts_table(facts.layouts, config, facts.ranks, facts.gpu));
  print_time(facts);
  print(fmt::format("checkpoint     {} on disk{}\n", format_bytes(facts.checkpoint),
                    copy_of(config.training, facts.checkpoint, facts.ranks)));
  print(fmt::format("memory         {}on {}\n{}", facts.ranks == 1 ? "" : "of each rank ", facts.where,
                    train::memory_table(facts.memory)));
  if (named) {
    print(fmt::format("  {:<32}{:>12}\n", fmt::format("of one {}", facts.where), format_bytes(facts.free)));
    return print_verdict(facts, facts.where, backend);
  }
  print(fmt::format("  {:<32}{:>12}\n", "free now", format_bytes(facts.free)));
  print("  (elsewhere, a GPU needs about 0.5 GiB beside the total for CUDA itself and for workspaces)\n");
  print_verdict(facts, "this machine", backend);
}

void plan(PlannedModel planned, const std::string& layers, const Options& options,
          const train::GpuRates* named) {
  const std::string precision =
      settle_precision(planned.config, named != nullptr ? DeviceKind::gpu : planned.config.training.device);
  backend::Backend backend = planning_backend(planned.config, named, options.json);
  const PlanFacts facts(planned.config, options.gpus, named, backend);
  if (options.json)
    print(plan_json(facts));
  else
    print_plan(facts, planned.words, layers, precision, named != nullptr, backend);
}

int run(const Options& options) {
  if ((options.config.empty() ? 0 : 1) + (options.model.empty() ? 0 : 1) + (options.settings ? 1 : 0) != 1)
    throw UserError("moe plan", "one of --config FILE, a model, --settings",
                    options.config.empty() && options.model.empty() && !options.settings ? "none" : "several",
                    "`moe plan --help` has examples");
  if (options.settings) {
    train::RunConfig defaults;
    print(print_config_help(defaults.sections()));
    return 0;
  }
  Terminal terminal;
  const std::vector<ConfigText> files = read_configurations(options.config);  // once: it may be a pipe
  PlannedModel planned = options.model.empty()
                             ? PlannedModel{train::RunConfig::load(files, options.overrides), ""}
                             : plan_of_model(options.model, options.overrides, terminal);
  planned.config.check_trainable(true);
  const std::optional<train::GpuRates> named =
      options.gpu.empty() ? std::nullopt : std::optional(parse_gpu(options.gpu));
  if (options.recipe) {
    print(recipe_text(planned.config, options.gpus, options.tokens, options.json));
    return 0;
  }
  plan(std::move(planned), layers_words(files, options.overrides), options, named ? &*named : nullptr);
  return 0;
}

}  // namespace

void add_plan(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("plan", "Parameters, arithmetic and memory of a configuration");
  command->add_option("model", options->model, "A model to import: config.json, its folder, or of the hub")
      ->type_name("PATH|hf://USER/NAME");
  add_config_files(*command, options->config, "Settings of the run (YAML)");
  command->add_flag("--settings", options->settings, "List all settings with their meaning and defaults");
  command->add_option("--gpus", options->gpus, "Plan for so many ranks, and compare the layouts")
      ->type_name("N")
      ->check(CLI::Range(1, 65536));
  command
      ->add_option("--gpu", options->gpu,
                   "On which GPU, by name or by rates: predicts the time of a step (docs/scaling.md)")
      ->type_name("GPU|RATES");
  auto* recipe = command->add_flag("--recipe", options->recipe,
                                   "Rate, batch, decay, steps and warm-up by published laws, in place of the "
                                   "plan");
  command->add_option("--tokens", options->tokens, "With --recipe: of the whole run; default: as configured")
      ->type_name("N")
      ->check(CLI::Range(1.0, 1e18))
      ->needs(recipe);
  command->add_flag("--json", options->json, "As JSON: counts, bytes, seconds; with --recipe the recipe");
  add_settings(*command, options->overrides, "Settings that replace those of the file");
  command->footer(
      "Examples:\n"
      "  moe plan --config configs/train_config.yaml\n"
      "  moe plan --config configs/train_config.yaml training.batch_size=8 training.mixed_precision=bf16\n"
      "  moe plan --config configs/train_config.yaml --gpus 8\n"
      "  moe plan --config configs/train_config.yaml --gpus 64 --gpu h100 training.mixed_precision=bf16\n"
      "  moe plan --config configs/train_config_16gb.yaml --gpu memory=16,tflops=97,bandwidth=716\n"
      "  moe plan --config moe_1.7b --config low_memory --gpu memory=16 --json     presets: `moe presets`\n"
      "  moe plan --config configs/train_config.yaml --recipe --tokens 10.5e9\n"
      "  moe plan hf://Qwen/Qwen3-30B-A3B --gpus 8 --gpu h100 training.mixed_precision=bf16\n"
      "  moe plan downloaded/config.json training.batch_size=4\n"
      "  moe plan --settings\n"
      "RATES: GiB of memory, dense bf16 TFLOP/s, GB/s of memory; link=, network= (GB/s of one GPU in one "
      "direction)\n"
      "and gpus= (of a machine) where they are known; memory= alone predicts no time. What does not fit is "
      "said;\n"
      "the exit code is 0 all the same.");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace moe::cli
