// SPDX-License-Identifier: MIT
// moe plan: what a configuration costs, before anything runs.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/error.h"
#include "base/format.h"
#include "cli/commands.h"
#include "cli/plan_layouts.h"
#include "model/flops.h"
#include "text/tokenizer.h"
#include "train/state.h"

namespace moe::cli {
namespace {

struct Options {
  std::string config;
  std::vector<std::string> overrides;
  bool settings = false;
  int gpus = 1;
  std::string gpu;
};

void print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
}

// The price of writing behind training.
std::string copy_of(const TrainingConfig& training, double checkpoint, int ranks) {
  if (!training.checkpoint_in_background || training.checkpoint_every == 0) return "";
  return fmt::format(", written from a copy of {} in the memory of the host{}",
                     format_bytes(checkpoint / ranks), ranks == 1 ? "" : " for each rank");
}

void print_plan(RunConfig& config, int ranks, const std::string& named) {
  const Backend backend =
      make_backend(named.empty() ? config.training.device : "cpu", static_cast<int>(config.training.threads),
                   arithmetic(config.training));
  const GpuRates* const gpu = find_gpu(named.empty() ? backend.device->name() : named);
  CHECK(named.empty() || gpu != nullptr, named);  // the option takes known names only
  const ParameterCount count = count_parameters(config.model);
  const FlopsPerToken flops = flops_per_token(config.model, config.model.max_seq_len);
  const int64_t micro = config.training.batch_size * config.model.max_seq_len;
  const int64_t step = micro * config.training.gradient_accumulation_steps * ranks;
  print(fmt::format("parameters     {} total ({}), {} active per token ({})\n", count.total,
                    format_count(static_cast<double>(count.total)), count.active,
                    format_count(static_cast<double>(count.active))));
  const Capacity capacity = training_capacity(config.model, micro_batch(config, Tokenizer::kVocabulary));
  print(fmt::format(
      "routing        {} of {} experts, {}\n", config.model.top_k, config.model.num_experts,
      capacity.rows == 0
          ? std::string("dropless")
          : fmt::format("at most {} tokens of a {} for an expert (capacity factor {})", capacity.rows,
                        capacity.tokens == 0 ? "micro-batch" : "row", config.model.capacity_factor)));
  print(fmt::format("step           {} tokens ({} micro-batches of {} x {}{}), {} steps, {} tokens in all\n",
                    step, config.training.gradient_accumulation_steps, config.training.batch_size,
                    config.model.max_seq_len, ranks == 1 ? "" : fmt::format(" on each of {} ranks", ranks),
                    config.training.max_steps,
                    format_count(static_cast<double>(step * config.training.max_steps))));
  print(fmt::format("work           {}FLOP per token, forward and backward\n", format_count(flops.total())));
  const auto share = [&](const char* name, double part) {
    print(fmt::format("  {:<14} {:5.1f} %\n", name, 100 * part / flops.total()));
  };
  share("projections", flops.projections);
  share("attention", flops.attention);
  share("router", flops.router);
  share("experts", flops.experts);
  share("head", flops.head);

  if (ranks > 1 || gpu != nullptr) print(layouts_table(config, ranks, gpu, *backend.device, *backend.ops));
  Arena plan;
  const auto saved = static_cast<double>(
      plan_training(config, Tokenizer::kVocabulary, ranks, *backend.device, *backend.ops, plan));
  print(fmt::format("checkpoint     {} on disk{}\n", format_bytes(saved),
                    copy_of(config.training, saved, ranks)));
  print(fmt::format("memory         {}on {}\n{}", ranks == 1 ? "" : "of each rank ",
                    named.empty() ? backend.description : gpu->name, memory_table(plan)));
  if (!named.empty()) {
    print(fmt::format("  {:<32}{:>12}\n", fmt::format("of one {}", gpu->name), format_bytes(gpu->memory)));
    return;
  }
  print(fmt::format("  {:<32}{:>12}\n", "free now",
                    format_bytes(static_cast<double>(backend.device->memory_available()))));
  print("  (elsewhere, a GPU needs about 0.5 GiB beside the total for CUDA itself and for workspaces)\n");
  check_memory(plan, *backend.device);
}

int run(const Options& options) {
  if (options.settings) {
    RunConfig defaults;
    print(print_config_help(defaults.sections()));
    return 0;
  }
  RunConfig config = RunConfig::load(options.config, options.overrides);
  print_plan(config, options.gpus, options.gpu);
  return 0;
}

}  // namespace

void add_plan(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("plan", "Parameters, arithmetic and memory of a configuration");
  auto* group = command->add_option_group("what");
  group->add_option("--config", options->config, "Settings of the run (YAML)")->type_name("FILE");
  group->add_flag("--settings", options->settings, "List all settings with their meaning and defaults");
  group->require_option(1);
  command->add_option("--gpus", options->gpus, "Plan for so many ranks, and compare the layouts")
      ->type_name("N")
      ->check(CLI::Range(1, 65536));
  std::vector<std::string> names;
  for (const GpuRates& gpu : known_gpus()) names.push_back(gpu.name);
  command->add_option("--gpu", options->gpu, "On which GPU: predicts the time of a step (docs/scaling.md)")
      ->type_name("NAME")
      ->check(CLI::IsMember(names));
  command->add_option("overrides", options->overrides, "Settings that replace those of the file")
      ->type_name("section.key=value");
  command->footer(
      "Examples:\n"
      "  moe plan --config configs/train_config.yaml\n"
      "  moe plan --config configs/train_config.yaml training.batch_size=8 training.mixed_precision=bf16\n"
      "  moe plan --config configs/train_config.yaml --gpus 8\n"
      "  moe plan --config configs/train_config.yaml --gpus 64 --gpu h100 training.mixed_precision=bf16\n"
      "  moe plan --settings");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace moe::cli
