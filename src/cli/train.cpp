// SPDX-License-Identifier: MIT
// moe train: a new run from a config file, or an old one from its folder.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>  // program_invocation_name: how the program was called, for commands to copy
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "backend/ranks.h"
#include "base/error.h"
#include "base/format.h"
#include "base/terminal.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/precision.h"
#include "cli/presets.h"
#include "cli/quickstart.h"
#include "cli/stop_signal.h"
#include "cli/tokenizer_words.h"
#include "data/opening.h"
#include "model/flops.h"
#include "net/stop_scope.h"
#include "train/micro_batches.h"
#include "train/start_times.h"
#include "train/text_of_run.h"
#include "train/trainer.h"

namespace moe::cli {
namespace {

struct TrainOptions {
  std::vector<std::filesystem::path> config;
  bool quickstart = false;  // the first of `config`
  std::string resume;
  std::vector<std::string> overrides;
  comm::LaunchFlags ranks;
};

// Rank 0 makes the folder of a new run, the others find it there.
train::RunFolder open_folder(const TrainOptions& options, const train::RunConfig& config,
                             comm::Communicator& ranks) {
  if (!options.resume.empty()) return train::RunFolder::open(options.resume);
  std::optional<train::RunFolder> folder;
  std::string path;
  comm::propagate_errors(ranks, [&] {
    if (ranks.rank() != 0) return;
    folder = train::RunFolder::create(config, name_of_configurations(options.config));
    path = folder->path().string();
  });
  path = ranks.gather_text(path).front();
  comm::propagate_errors(ranks, [&] {
    if (!folder) folder = train::RunFolder::open(path);
  });
  return *folder;
}

// A new run that ends before it has anything to keep leaves nothing behind.
void discard_if_nothing(std::unique_ptr<train::Trainer>& trainer, const train::RunFolder& made) {
  const train::RunFolder folder = trainer ? trainer->folder() : made;
  const bool trained = trainer && trainer->step() > 0;
  if (trained || checkpoint::CheckpointStore(folder.checkpoints(), 0).latest()) return;
  trainer.reset();  // it writes as long as it lives
  folder.discard();
}

// The first rank whose text is not that of rank 0.
std::optional<size_t> first_other(const std::vector<std::string>& of_ranks) {
  const auto other =
      std::ranges::find_if(of_ranks, [&](const auto& text) { return text != of_ranks.front(); });
  if (other == of_ranks.end()) return std::nullopt;
  return static_cast<size_t>(other - of_ranks.begin());
}

void expect_same_settings(const train::RunConfig& config, comm::Communicator& ranks) {
  const auto precisions = ranks.gather_text(std::string(name_of(config.training.mixed_precision)));
  if (const auto r = first_other(precisions))
    throw comm::SharedError(fmt::format("rank {}: training.mixed_precision", *r),
                            precisions.front() + ", as on rank 0", precisions[*r],
                            "auto depends on the processor: name one precision for all ranks");
  if (const auto r = first_other(ranks.gather_text(config.json())))
    throw comm::SharedError(fmt::format("rank {}", *r), "the settings of rank 0", "others",
                            "start all ranks with the same file and the same overrides");
  const auto tokenizers =
      ranks.gather_text(text::fingerprint_text(config.data.tokenizer.facts().fingerprint));
  if (const auto r = first_other(tokenizers))
    throw comm::SharedError(fmt::format("rank {}: data.tokenizer", *r),
                            "the tokenizer of rank 0, fingerprint " + tokenizers.front(), tokenizers[*r],
                            "let all ranks read the same file");
}

int report_end(train::Outcome outcome, const train::Trainer& trainer, Terminal& terminal) {
  const std::string run = trainer.folder().path().string();
  if (outcome == train::Outcome::signal) {
    terminal.line(fmt::format("stopped by signal {} at step {}; saved. Continue with: {} train --resume {}",
                              trainer.signal(), trainer.step(), program_invocation_name, run));
    return 128 + trainer.signal();
  }
  terminal.line(
      fmt::format("{} at step {}\n"
                  "  settings     {}/config.yaml\n"
                  "  metrics      {}/metrics.jsonl\n"
                  "  checkpoints  {}/checkpoints\n"
                  "  samples      {}/samples\n"
                  "write more with: {} generate {} --prompt \"...\"\n"
                  "look at it with: {} report {}",
                  outcome == train::Outcome::finished ? "done" : "time is up: saved", trainer.step(), run,
                  run, run, run, program_invocation_name, run, program_invocation_name, run));
  return 0;
}

// One rank's part of the run. precision: what settle_precision() says.
int train_on(const backend::Backend& backend, comm::Communicator& ranks, const TrainOptions& options,
             const train::RunConfig& config, const std::string& precision, const StopSignal& stop,
             train::Begun begun, Terminal& terminal) {
  const bool resume = !options.resume.empty();
  const bool first = ranks.rank() == 0;
  const model::ParameterCount count = model::count_parameters(config.model);
  terminal.line("device    " + backend.description);
  if (!precision.empty()) terminal.line("precision " + precision);
  if (ranks.size() > 1) terminal.line("ranks     " + ranks.describe());
  terminal.line(fmt::format("model     {} parameters, {} active per token",
                            format_count(static_cast<double>(count.total)),
                            format_count(static_cast<double>(count.active))));
  if (config.training.global_batch_size > 0)
    terminal.line("step      " + train::micro_batch_words(config, ranks.size()));
  terminal.line("tokenizer " + tokenizer_words(config.data.tokenizer.facts()));
  expect_same_settings(config, ranks);
  const train::RunFolder folder = open_folder(options, config, ranks);
  terminal.line("run       " + folder.path().string());
  begun.times.end("folder");
  std::unique_ptr<train::Trainer> trainer;
  train::Outcome outcome;
  try {
    {
      const comm::SuspendTimeout patience(ranks);
      const net::StopScope scope(stop.token());  // nothing is trained yet: a signal ends all waiting
      comm::propagate_errors(ranks, [&] {
        trainer = std::make_unique<train::Trainer>(config, folder, resume, *backend.device, *backend.ops,
                                                   ranks, stop.number(), terminal, std::move(begun));
      });
    }
    trainer->when_accepted([&] {
      for (const std::string& note : backend.take_notes()) terminal.line("products  " + note);
      if (!first) return;
      if (!resume) trainer->folder().become_latest();
      if (resume) trainer->folder().keep_tokenizer(config);
      if (resume &&
          (!options.overrides.empty() || !precision.empty() || config.training.global_batch_size > 0))
        trainer->folder().record(config);
    });
    outcome = trainer->run();
  } catch (...) {
    if (!resume && first) discard_if_nothing(trainer, folder);
    throw;
  }
  if (!resume && outcome == train::Outcome::signal && trainer->step() == 0) {
    const int signal = trainer->signal();
    if (first) discard_if_nothing(trainer, folder);
    terminal.line(fmt::format(
        "stopped by signal {} before the first step: nothing was trained, nothing is kept", signal));
    return 128 + signal;
  }
  return report_end(outcome, *trainer, terminal);
}

int train(const TrainOptions& options) {
  train::StartTimes start = train::StartTimes::of_process();
  if (options.config.empty() == options.resume.empty())
    throw UserError("moe train",
                    "--config FILE or --quickstart for a new run, or --resume RUN to continue one",
                    options.config.empty() ? "neither" : "both",
                    "for example `moe train --quickstart`; `moe train --help` has more");
  const comm::Launch launch =
      comm::find_launch(options.ranks, [](const char* name) { return std::getenv(name); });
  train::RunConfig config =
      options.resume.empty()
          ? train::RunConfig::load(read_configurations(options.config), options.overrides)
          : train::RunConfig::load_run(train::RunFolder::open(options.resume).config(), options.overrides);
  const std::string precision = settle_precision(config);
  config.data.require_text();
  expect_dictionary(config);
  config.check_trainable(options.resume.empty());
  // Of several ranks each would say it: there the text's opening does, once they have met.
  if (launch.alone()) train::expect_named_files(config);
  const train::TrainingConfig& training = config.training;
  start.end("settings");
  const StopSignal stop;
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> nobody(std::fopen("/dev/null", "w"), std::fclose);
  CHECK(nobody != nullptr);
  Terminal terminal(launch.rank == 0 ? stderr : nobody.get());
  data::Opening source(config.data, terminal, stop.token());  // beside the device
  backend::Backend backend =
      backend::make_backend(training.device, backend::threads_of_rank(training.threads, launch),
                            train::arithmetic(training), launch.local_rank);
  start.end("device");
  const auto ranks =
      backend::make_communicator(launch, backend, std::chrono::seconds(config.distributed.timeout_seconds));
  start.end("ranks");
  train::set_micro_batches(config, *ranks, backend.on_gpu, *backend.device, *backend.ops);
  config.set_last_step(ranks->size());
  // In the run's settings, so that it stays the same text when the run goes on with other ranks.
  config.training.eval_tokens = config.tokens_of_evaluation(ranks->size());
  try {
    return train_on(backend, *ranks, options, config, precision, stop, {std::move(start), &source}, terminal);
  } catch (const comm::SharedError&) {
    if (ranks->rank() == 0) throw;
    return 1;  // rank 0 says it
  } catch (const net::Cancelled&) {
    const std::string text = fmt::format("stopped by signal {} before the first step", stop.number().load());
    terminal.line(text);
    ranks->abort(text);
    return 128 + stop.number();
  } catch (const std::exception& error) {
    ranks->abort(error.what());
    throw;
  }
}

}  // namespace

void add_train(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* command = app.add_subcommand("train", "Train a model, or continue a run");
  add_config_files(*command, options->config, "Settings of a new run (YAML)");
  command->add_flag("--quickstart", options->quickstart,
                    "The preset quickstart: a small model learns a dictionary, or data.source=YOUR_TEXTS");
  command->add_option("--resume", options->resume, "Folder of a run to continue, e.g. runs/latest")
      ->type_name("RUN");
  add_settings(*command, options->overrides, "Settings that replace those of the file");
  auto* ranks = command->add_option_group("Many ranks",
                                          "For who starts each by hand: torchrun, mpirun and srun need none");
  ranks->add_option("--rank", options->ranks.rank, "Number of this process, from 0")->type_name("N");
  ranks->add_option("--world-size", options->ranks.size, "How many there are")->type_name("N");
  ranks
      ->add_option("--local-rank", options->ranks.local_rank,
                   "Number on this machine: which GPU (default: the rank)")
      ->type_name("N");
  ranks
      ->add_option("--rendezvous", options->ranks.rendezvous,
                   "Where ranks on GPUs meet, when the launcher does not say")
      ->type_name("HOST:PORT|file:PATH");
  command->footer(
      "Examples:\n"
      "  moe train --quickstart                            three minutes of a processor, then a sample\n"
      "  moe train --quickstart data.source=my_texts/ data.document_split=file\n"
      "  moe train --config moe_120m --config mine.yaml    a preset (`moe presets`), and settings over it\n"
      "  moe train --resume runs/latest training.max_steps=2000\n"
      "  mpirun -n 4 moe train --quickstart training.batch_size=1             four ranks on CPUs\n"
      "All settings with their meaning: moe plan --settings");
  command->callback([options, &chosen] {
    if (options->quickstart) options->config.insert(options->config.begin(), kQuickstart);
    chosen = [options] { return train(*options); };
  });
}

}  // namespace moe::cli
