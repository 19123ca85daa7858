// SPDX-License-Identifier: MIT
// moe doctor: what this machine offers, what is missing, and the command that brings it.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/error.h"
#include "base/format.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/precision.h"
#include "cli/presets.h"
#include "doctor/checks.h"
#include "doctor/machine.h"
#include "train/micro_batches.h"
#include "train/state.h"
#include "train/text_of_run.h"

namespace moe::cli {
namespace {

struct Options {
  std::vector<std::filesystem::path> config;
  std::vector<std::string> overrides;
  bool json = false;
};

// Whether the configuration has its device here, and the memory: the plan of `moe plan`, without its table.
void check_configuration(train::RunConfig config, doctor::Diagnosis& diagnosis) {
  doctor::Check check{"configuration", ""};
  diagnosis.trains_on = "";
  diagnosis.verdict = "this configuration does not train here";
  try {
    config.check_trainable(true);
    train::expect_named_files(config);
    settle_precision(config);
    backend::Backend backend =
        backend::make_backend(config.training.device, static_cast<int>(config.training.threads),
                              train::arithmetic(config.training));
    const auto free = static_cast<double>(backend.device->memory_available());
    train::set_micro_batches(config, 1, {free, backend.on_gpu}, *backend.device, *backend.ops);
    Arena plan;
    train::plan_training(config, config.vocabulary(), 1, *backend.device, *backend.ops, plan);
    train::check_memory(plan, *backend.device);
    check.found =
        fmt::format("needs {} of {} that are free on {}", format_bytes(static_cast<double>(plan.used())),
                    format_bytes(free), backend.device->name());
    diagnosis.trains_on = backend.on_gpu ? "gpu" : "cpu";
    diagnosis.verdict = fmt::format("this configuration trains here, on {}", backend.device->name());
  } catch (const UserError& error) {
    check.status = doctor::Status::missing;
    check.found = UserError(error.where, error.expected, error.found).what();
    check.costs = "this configuration";
    check.brings = error.hint;
  }
  diagnosis.checks.push_back(std::move(check));
}

int run(const Options& options) {
  std::optional<train::RunConfig> config;
  if (!options.config.empty() || !options.overrides.empty())
    config = train::RunConfig::load(read_configurations(options.config), options.overrides);
  const doctor::Machine machine =
      doctor::probe(config ? config->training.output_dir : train::TrainingConfig().output_dir);
  doctor::Diagnosis diagnosis = doctor::diagnose(machine);
  if (config && machine.runs.problem.empty()) check_configuration(*config, diagnosis);
  const std::string words =
      options.json ? doctor::json_of(machine, diagnosis) : doctor::text_of(machine, diagnosis);
  std::fputs(words.c_str(), stdout);
  return diagnosis.trains_on.empty() ? 1 : 0;
}

}  // namespace

void add_doctor(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("doctor", "What this machine offers for training, and what is missing");
  add_config_files(*command, options->config, "Settings of a run (YAML): says whether it can run here");
  command->add_flag("--json", options->json, "As JSON, for tools");
  add_settings(*command, options->overrides, "Settings that replace those of the file");
  command->footer(
      "Examples:\n"
      "  moe doctor\n"
      "  moe doctor --json\n"
      "  moe doctor --config moe_1.7b training.batch_size=8\n"
      "One line for each thing: ok, missing, too old, low, or - where nothing here lacks it. Below what is "
      "missing:\n"
      "what that costs, and the command that brings it. The exit code is 0 where training works, on a GPU or "
      "on "
      "the\n"
      "CPU, and 1 where it does not start, or the configuration cannot run. Keys, tokens and passwords are "
      "never "
      "shown.");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace moe::cli
