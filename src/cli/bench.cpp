// SPDX-License-Identifier: MIT
// moe bench: how fast this machine trains a configuration. First whole steps on random tokens (no data pipeline, no
// files) as training runs them; then one with a clock around every operation, held against the floor that the machine's
// measured matrix rate and memory bandwidth set.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/format.h"
#include "base/random.h"
#include "cli/bench_moe_layer.h"
#include "cli/commands.h"
#include "metrics/meters.h"
#include "model/flops.h"
#include "ops/clocked_ops.h"
#include "text/tokenizer.h"
#include "train/state.h"
#include "train/step.h"

namespace moe::cli {
namespace {

struct Options {
  std::string config;
  std::vector<std::string> overrides;
  std::string part = "step";
  int64_t steps = 5, warmup = 2, tokens = 65536;
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

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// The shortest of a few runs of body, in seconds.
template <class Body>
double shortest(Device& device, Body&& body) {
  double best = 1e9;
  for (int i = 0; i < 4; ++i) {
    const double started = steady_seconds();
    body();
    device.synchronize();
    best = std::min(best, steady_seconds() - started);
  }
  return best;
}

// What this machine can do at best, measured: products of square matrices and copies, larger ones on faster machines.
struct Machine {
  double flops = 0;  // per second
  double bytes = 0;  // per second, read and written
};

Machine measure_machine(DType type, Device& device, Ops& ops) {
  Machine machine;
  for (int64_t n = 1024; n <= 8192; n *= 2) {
    Arena arena(device, 3 * n * n * static_cast<int64_t>(size_of(type)));
    const auto square = [&] { return arena.allocate("", type, {n, n}); };
    const Tensor a = square(), b = square(), c = square();
    ops.fill(a, 0.01F);
    ops.fill(b, -0.01F);
    const double product = shortest(device, [&] { ops.matmul(c, a, b, Form::NT, false); });
    const double copy = shortest(device, [&] { ops.copy(c, a); });
    machine.flops = std::max(machine.flops, 2.0 * std::pow(static_cast<double>(n), 3) / product);
    machine.bytes =
        2.0 * static_cast<double>(a.bytes()) / copy;  // of the largest: small ones stay in a cache
    if (product > 0.05) break;
  }
  return machine;
}

// One line of the tables: a phase or an operation, over one step.
struct Line {
  std::string name;
  int64_t calls = 0;
  double seconds = 0, flops = 0, bytes = 0;
  double floor = 0;  // seconds

  void add(const ClockedOps::Entry& entry, const Machine& machine) {
    calls += entry.calls;
    seconds += entry.seconds;
    flops += entry.flops;
    bytes += entry.bytes;
    floor += std::max(entry.flops / machine.flops, entry.bytes / machine.bytes);
  }
};

std::vector<Line> by_time(std::map<std::string, Line> lines) {
  std::vector<Line> sorted;
  for (auto& [name, line] : lines) {
    line.name = name;
    sorted.push_back(line);
  }
  std::sort(sorted.begin(), sorted.end(), [](const Line& a, const Line& b) { return a.seconds > b.seconds; });
  return sorted;
}

std::string table(const char* title, const std::vector<Line>& lines) {
  double all = 0;
  for (const Line& line : lines) all += line.seconds;
  std::string text = fmt::format("{:<36}{:>6}{:>10}{:>7}{:>10}{:>8}{:>10}{:>7}\n", title, "calls", "ms",
                                 "share", "GFLOP/s", "GB/s", "floor ms", "floor");
  for (const Line& line : lines)
    text += fmt::format("{:<36}{:>6}{:>10.3f}{:>6.1f}%{:>10}{:>8.0f}{:>10.3f}{:>6.0f}%\n", line.name,
                        line.calls, 1e3 * line.seconds, 100 * line.seconds / all,
                        line.flops > 0 ? fmt::format("{:.0f}", 1e-9 * line.flops / line.seconds) : "",
                        1e-9 * line.bytes / line.seconds, 1e3 * line.floor, 100 * line.floor / line.seconds);
  return text;
}

nlohmann::ordered_json json_of(const std::vector<Line>& lines) {
  nlohmann::ordered_json json;
  for (const Line& line : lines)
    json[line.name] = {{"calls", line.calls},
                       {"ms", 1e3 * line.seconds},
                       {"gflops", 1e-9 * line.flops / line.seconds},
                       {"gbytes", 1e-9 * line.bytes / line.seconds},
                       {"floor_ms", 1e3 * line.floor}};
  return json;
}

struct Result {
  std::string device;
  std::vector<double> seconds;   // of whole steps
  double first_step = 0;         // from the start of the program's work, in seconds
  double tokens = 0, flops = 0;  // of a step
  int64_t memory = 0;
  Machine machine;
  std::vector<Line> phases, operations;
};

Result measure(const Options& options) {
  const double started = steady_seconds();
  const RunConfig config = RunConfig::load(options.config, options.overrides);
  const TrainingConfig& training = config.training;
  const Backend backend = make_backend(training.device, static_cast<int>(training.threads));
  Device& device = *backend.device;
  Result result;
  result.device = backend.description;
  result.machine = measure_machine(activation_type(training), device, *backend.ops);

  ClockedOps timed(*backend.ops, device, config.model.vocab_size);
  const auto [arena, state] = place<TrainingState>(device, config, Tokenizer::kVocabulary, timed);
  state->transformer.prepare(device);
  state->weights.initialise(1, device);
  cast_weights(state->weights, *backend.ops);
  const std::vector<Batch> batches(static_cast<size_t>(training.gradient_accumulation_steps),
                                   random_batch(training.batch_size, config.model.max_seq_len));
  int64_t step = 0;
  const auto timed_step = [&] {
    const double before = steady_seconds();
    run_step(*state, training, batches, step++, training.learning_rate, device, timed);
    device.synchronize();
    return steady_seconds() - before;
  };
  for (int64_t i = 0; i < options.warmup + options.steps; ++i) {
    const double seconds = timed_step();
    if (i == 0) result.first_step = steady_seconds() - started;
    if (i >= options.warmup) result.seconds.push_back(seconds);
  }
  timed.start();
  timed_step();
  timed.stop();

  result.tokens = static_cast<double>(std::ssize(batches) * batches.front().targets);
  result.flops = flops_per_token(config.model, config.model.max_seq_len).total() * result.tokens;
  result.memory = arena->used();
  std::map<std::string, Line> phases, operations;
  for (const auto& [name, entry] : timed.entries()) {
    phases[entry.phase].add(entry, result.machine);
    operations[name].add(entry, result.machine);
  }
  result.phases = by_time(std::move(phases));
  result.operations = by_time(std::move(operations));
  return result;
}

int run(const Options& options) {
  if (options.part == "moe-layer") {
    bench_moe_layer(RunConfig::load(options.config, options.overrides), options.tokens, options.steps,
                    options.json);
    return 0;
  }
  const Result result = measure(options);
  const double step = median(result.seconds);
  const auto [least, most] = std::minmax_element(result.seconds.begin(), result.seconds.end());
  const double rate = result.flops / step;
  if (options.json) {
    const nlohmann::ordered_json json{{"device", result.device},
                                      {"tokens_per_second", result.tokens / step},
                                      {"step_ms", 1e3 * step},
                                      {"step_ms_min", 1e3 * *least},
                                      {"step_ms_max", 1e3 * *most},
                                      {"first_step_s", result.first_step},
                                      {"gflops", 1e-9 * rate},
                                      {"machine_gflops", 1e-9 * result.machine.flops},
                                      {"machine_gbytes", 1e-9 * result.machine.bytes},
                                      {"memory_bytes", result.memory},
                                      {"steps", options.steps},
                                      {"phases", json_of(result.phases)},
                                      {"operations", json_of(result.operations)}};
    std::printf("%s\n", json.dump(1).c_str());
    return 0;
  }
  std::string text = result.device + "\n";
  text += fmt::format(
      "step {:.1f} ms (median of {}; {:.1f} to {:.1f}), {:.0f} tokens/s; first step after {:.1f} s; {}\n",
      1e3 * step, options.steps, 1e3 * *least, 1e3 * *most, result.tokens / step, result.first_step,
      format_bytes(static_cast<double>(result.memory)));
  text += fmt::format(
      "model {:.1f} GFLOP/s, {:.1f} % of the {:.1f} that this machine reaches in one large product; copies "
      "{:.0f} GB/s\n\n",
      1e-9 * rate, 100 * rate / result.machine.flops, 1e-9 * result.machine.flops,
      1e-9 * result.machine.bytes);
  text += table("phase", result.phases) + "\n" + table("operation", result.operations);
  std::fputs(text.c_str(), stdout);
  return 0;
}

}  // namespace

void add_bench(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("bench", "Measure training speed on this machine, by phase and operation");
  command->add_option("--config", options->config, "Settings of the run (YAML)")
      ->required()
      ->type_name("FILE");
  command->add_option("--part", options->part, "Whole steps, or the expert half of one block alone")
      ->capture_default_str()
      ->check(CLI::IsMember({"step", "moe-layer"}));
  command->add_option("--tokens", options->tokens, "Tokens of a pass of moe-layer")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->add_option("--steps", options->steps, "Measured steps; of moe-layer, passes of each measurement")
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
      "  moe bench --config configs/train_config.yaml --part moe-layer model.capacity_factor=0\n"
      "Tokens are random; the steps are whole training steps (forward, backward, clipping, optimizer). The "
      "tables are\n"
      "of one more step with a wait after each operation. A floor is the time in which the machine could do "
      "the\n"
      "arithmetic of its large products, or move each tensor once at the rate of its copies, whichever is "
      "longer.");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace moe::cli
