// SPDX-License-Identifier: MIT
// moe train: a new run from a config file, or an old one from its folder.
#include <errno.h>  // program_invocation_name: how the program was called, for commands to copy
#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/error.h"
#include "base/format.h"
#include "base/terminal.h"
#include "cli/commands.h"
#include "cli/stop_signal.h"
#include "model/flops.h"
#include "train/trainer.h"

namespace moe::cli {
namespace {

struct TrainOptions {
  std::string config, resume;
  std::vector<std::string> overrides;
};

int train(const TrainOptions& options) {
  if (options.config.empty() == options.resume.empty())
    throw UserError("moe train", "--config FILE for a new run, or --resume RUN to continue one",
                    options.config.empty() ? "neither" : "both");
  const bool resume = !options.resume.empty();
  std::unique_ptr<RunFolder> folder;
  if (resume) folder = std::make_unique<RunFolder>(RunFolder::open(options.resume));
  const RunConfig config =
      RunConfig::load(resume ? folder->config().string() : options.config, options.overrides);

  const StopSignal stop;
  Terminal terminal;
  const Backend backend = make_backend(config.training.device, static_cast<int>(config.training.threads),
                                       arithmetic(config.training));
  const ParameterCount count = count_parameters(config.model);
  terminal.line("device    " + backend.description);
  terminal.line(fmt::format("model     {} parameters, {} active per token",
                            format_count(static_cast<double>(count.total)),
                            format_count(static_cast<double>(count.active))));

  if (!resume)
    folder = std::make_unique<RunFolder>(
        RunFolder::create(config, std::filesystem::path(options.config).stem().string()));
  terminal.line("run       " + folder->path().string());
  std::unique_ptr<Trainer> trainer;
  try {
    trainer = std::make_unique<Trainer>(config, *folder, resume, *backend.device, *backend.ops, stop.number(),
                                        terminal);
  } catch (...) {
    if (!resume) folder->discard();  // a run that could not start leaves nothing behind
    throw;
  }
  if (!resume) folder->become_latest();
  if (resume && !options.overrides.empty()) folder->record(config);
  const Outcome outcome = trainer->run();

  const std::string run = folder->path().string();
  if (outcome == Outcome::signal) {
    terminal.line(fmt::format("stopped by signal {} at step {}; saved. Continue with: {} train --resume {}",
                              stop.number().load(), trainer->step(), program_invocation_name, run));
    return 128 + stop.number();
  }
  terminal.line(
      fmt::format("{} at step {}\n"
                  "  settings     {}/config.yaml\n"
                  "  metrics      {}/metrics.jsonl\n"
                  "  checkpoints  {}/checkpoints\n"
                  "  samples      {}/samples\n"
                  "write more with: {} generate {} --prompt \"...\"",
                  outcome == Outcome::finished ? "done" : "time is up: saved", trainer->step(), run, run, run,
                  run, program_invocation_name, run));
  return 0;
}

}  // namespace

void add_train(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* command = app.add_subcommand("train", "Train a model, or continue a run");
  command->add_option("--config", options->config, "Settings of a new run (YAML)")->type_name("FILE");
  command->add_option("--resume", options->resume, "Folder of a run to continue, e.g. runs/latest")
      ->type_name("RUN");
  command->add_option("overrides", options->overrides, "Settings that replace those of the file")
      ->type_name("section.key=value");
  command->footer(
      "Examples:\n"
      "  moe train --config configs/quickstart.yaml\n"
      "  moe train --config configs/quickstart.yaml data.source=my_texts/ data.document_split=file\n"
      "  moe train --resume runs/latest training.max_steps=2000\n"
      "All settings with their meaning: moe plan --settings");
  command->callback([options, &chosen] { chosen = [options] { return train(*options); }; });
}

}  // namespace moe::cli
