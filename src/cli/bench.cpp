// SPDX-License-Identifier: MIT
// moe bench: how fast this machine trains a configuration. Whole steps on random tokens (no data pipeline, no
// files) with a clock around every operation; its cost is two readings of the clock for each call.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/random.h"
#include "cli/commands.h"
#include "metrics/meters.h"
#include "model/flops.h"
#include "ops/timed_ops.h"
#include "text/tokenizer.h"
#include "train/state.h"
#include "train/step.h"

namespace moe::cli {
namespace {

struct Options {
  std::string config;
  std::vector<std::string> overrides;
  int64_t steps = 5, warmup = 2;
  bool json = false;
};

Batch random_batch(int64_t rows, int64_t length) {
  const Random random(1, "bench");
  const auto id = [&](int64_t index) {
    return static_cast<int32_t>(random.below(static_cast<uint64_t>(index), Tokenizer::kEndOfText));
  };
  Batch batch;
  batch.rows = rows;
  batch.length = length;
  batch.targets = rows * length;
  for (int64_t n = 0; n < batch.targets; ++n) {
    batch.input.push_back(id(2 * n));
    batch.target.push_back(id(2 * n + 1));
  }
  batch.first.assign(static_cast<size_t>(batch.targets), 0);
  return batch;
}

std::string operation_table(const TimedOps& timed, int64_t steps, double step_seconds) {
  std::vector<std::pair<std::string, TimedOps::Entry>> rows(timed.entries().begin(), timed.entries().end());
  std::sort(rows.begin(), rows.end(),
            [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  std::string text =
      fmt::format("{:<38}{:>7}{:>10}{:>8}{:>10}\n", "operation", "calls", "ms/step", "share", "GFLOP/s");
  for (const auto& [name, entry] : rows) {
    const double seconds = entry.seconds / static_cast<double>(steps);
    text += fmt::format("{:<38}{:>7}{:>10.2f}{:>7.1f}%{:>10}\n", name, entry.calls / steps, 1e3 * seconds,
                        100 * seconds / step_seconds,
                        entry.flops > 0 ? fmt::format("{:.0f}", 1e-9 * entry.flops / entry.seconds) : "");
  }
  return text;
}

int run(const Options& options) {
  const RunConfig config = RunConfig::load(options.config, options.overrides);
  const Backend backend = make_backend(config.training.device, static_cast<int>(config.training.threads));
  TimedOps timed(*backend.ops);
  const auto [arena, state] = place<TrainingState>(*backend.device, config, Tokenizer::kVocabulary, timed);
  state->transformer.prepare(*backend.device);
  state->weights.initialise(1, *backend.device);
  cast_weights(state->weights, *backend.ops);

  const TrainingConfig& training = config.training;
  const std::vector<Batch> batches(static_cast<size_t>(training.gradient_accumulation_steps),
                                   random_batch(training.batch_size, config.model.max_seq_len));
  std::vector<double> seconds;
  for (int64_t i = 0; i < options.warmup + options.steps; ++i) {
    if (i == options.warmup) timed.clear();
    const double started = steady_seconds();
    run_step(*state, training, batches, i, training.learning_rate, *backend.device, timed);
    backend.device->synchronize();
    if (i >= options.warmup) seconds.push_back(steady_seconds() - started);
  }
  std::vector<double> sorted = seconds;
  std::sort(sorted.begin(), sorted.end());
  const double median = sorted[sorted.size() / 2];
  const double step_tokens = static_cast<double>(std::ssize(batches) * batches.front().targets);
  const double flops = flops_per_token(config.model, config.model.max_seq_len).total();
  if (options.json) {
    nlohmann::ordered_json json{{"device", backend.description},
                                {"tokens_per_second", step_tokens / median},
                                {"step_ms", 1e3 * median},
                                {"step_ms_min", 1e3 * sorted.front()},
                                {"step_ms_max", 1e3 * sorted.back()},
                                {"gflops", 1e-9 * flops * step_tokens / median},
                                {"steps", options.steps}};
    for (const auto& [name, entry] : timed.entries())
      json["operations"][name] = {{"calls", entry.calls / options.steps},
                                  {"ms", 1e3 * entry.seconds / static_cast<double>(options.steps)}};
    std::printf("%s\n", json.dump(1).c_str());
    return 0;
  }
  std::printf("%s\n", backend.description.c_str());
  std::fputs(fmt::format("step {:.1f} ms (median of {}; {:.1f} to {:.1f}), {:.0f} tokens/s, {:.0f} GFLOP/s\n",
                         1e3 * median, options.steps, 1e3 * sorted.front(), 1e3 * sorted.back(),
                         step_tokens / median, 1e-9 * flops * step_tokens / median)
                 .c_str(),
             stdout);
  std::fputs(operation_table(timed, options.steps, median).c_str(), stdout);
  return 0;
}

}  // namespace

void add_bench(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("bench", "Measure training speed on this machine, by operation");
  command->add_option("--config", options->config, "Settings of the run (YAML)")
      ->required()
      ->type_name("FILE");
  command->add_option("--steps", options->steps, "Measured steps")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->add_option("--warmup", options->warmup, "Steps before the measured ones")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--json", options->json, "One JSON object on standard output");
  command->add_option("overrides", options->overrides, "Settings that replace those of the file")
      ->type_name("section.key=value");
  command->footer(
      "Examples:\n"
      "  moe bench --config configs/quickstart.yaml\n"
      "  moe bench --config configs/quickstart.yaml --json training.threads=1 training.mixed_precision=bf16\n"
      "Tokens are random; the steps are whole training steps (forward, backward, clipping, optimizer).");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace moe::cli
