// SPDX-License-Identifier: MIT
// moe bench: how fast this machine trains a configuration. First whole steps on random tokens (no data
// pipeline, no files) as training runs them; then one with a clock around every operation, held against the
// floor that the machine's measured matrix rate and memory bandwidth set.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/error.h"
#include "base/format.h"
#include "base/json.h"
#include "base/random.h"
#include "base/steady_seconds.h"
#include "cli/arguments.h"
#include "cli/bench_moe_layer.h"
#include "cli/commands.h"
#include "cli/machine_rates.h"
#include "cli/precision.h"
#include "cli/presets.h"
#include "comm/solo.h"
#include "model/flops.h"
#include "ops/balanced_ops.h"
#include "ops/clocked_ops.h"
#include "train/micro_batches.h"
#include "train/state.h"
#include "train/step.h"

namespace moe::cli {
namespace {

struct Options {
  std::vector<std::filesystem::path> config;
  std::vector<std::string> overrides;
  std::string part = "step";
  int64_t steps = 5, warmup = 2, tokens = 65536;
  bool json = false, forced_balance = false, energy = false;
};

data::Batch random_batch(int64_t rows, int64_t length, text::TokenId vocabulary) {
  const Random random(1, "bench");
  const auto id = [&](int64_t index) {
    return static_cast<text::TokenId>(
        random.below(static_cast<uint64_t>(index), static_cast<uint64_t>(vocabulary - 1)));
  };
  data::Batch batch;
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

// One line of the tables: a phase or an operation, over one step.
struct Line {
  std::string name;
  int64_t calls = 0;
  double seconds = 0, flops = 0, bytes = 0;
  double floor = 0;   // seconds
  double joules = 0;  // 0: not measured

  void add(const ClockedOps::Entry& entry, const MachineRates& machine) {
    calls += entry.calls;
    seconds += entry.seconds;
    flops += entry.flops;
    bytes += entry.bytes;
    joules += entry.joules;
    floor += std::max(entry.flops / machine.flops, entry.bytes / machine.bytes);
  }
};

std::vector<Line> by_time(const std::map<std::string, Line>& lines) {
  std::vector<Line> sorted;
  for (const auto& [name, line] : lines) sorted.emplace_back(line).name = name;
  std::sort(sorted.begin(), sorted.end(), [](const Line& a, const Line& b) { return a.seconds > b.seconds; });
  return sorted;
}

// GFLOP/s, or TFLOP/s where the machine reaches several.
struct Unit {
  const char* name;
  double scale;
};
Unit unit_of(const MachineRates& machine) {
  return machine.flops < 1e13 ? Unit{"GFLOP/s", 1e-9} : Unit{"TFLOP/s", 1e-12};
}

std::string table(const char* title, const std::vector<Line>& lines, const Unit& unit) {
  Line all{.name = "all"};
  for (const Line& line : lines) {
    all.calls += line.calls;
    all.seconds += line.seconds;
    all.flops += line.flops;
    all.bytes += line.bytes;
    all.floor += line.floor;
    all.joules += line.joules;
  }
  std::string text = fmt::format("{:<36}{:>6}{:>10}{:>7}{:>10}{:>8}{:>10}{:>7}{}\n", title, "calls", "ms",
                                 "share", unit.name, "GB/s", "floor ms", "floor",
                                 all.joules > 0 ? fmt::format("{:>10}{:>7}", "J", "share") : "");
  const auto add = [&](const Line& line) {
    text += fmt::format("{:<36}{:>6}{:>10.3f}{:>6.1f}%{:>10}{:>8.0f}{:>10.3f}{:>6.0f}%", line.name,
                        line.calls, 1e3 * line.seconds, 100 * line.seconds / all.seconds,
                        line.flops > 0 ? fmt::format("{:.0f}", unit.scale * line.flops / line.seconds) : "",
                        1e-9 * line.bytes / line.seconds, 1e3 * line.floor, 100 * line.floor / line.seconds);
    if (all.joules > 0)
      text += fmt::format("{:>10.3f}{:>6.1f}%", line.joules, 100 * line.joules / all.joules);
    text += '\n';
  };
  for (const Line& line : lines) add(line);
  add(all);
  return text;
}

OrderedJson json_of(const std::vector<Line>& lines) {
  OrderedJson json;
  for (const Line& line : lines) {
    json[line.name] = {{"calls", line.calls},
                       {"ms", 1e3 * line.seconds},
                       {"gflops", 1e-9 * line.flops / line.seconds},
                       {"gbytes", 1e-9 * line.bytes / line.seconds},
                       {"floor_ms", 1e3 * line.floor}};
    if (line.joules > 0) json[line.name]["joules"] = line.joules;
  }
  return json;
}

constexpr double kEnergySeconds = 1;  // of repetitions of each operation

struct Result {
  std::string device;
  std::vector<double> seconds;   // of whole steps
  double first_step = 0;         // from the start of the program's work, in seconds
  double tokens = 0, flops = 0;  // of a step
  std::optional<double> joules;  // of a step; none: the device has no counter, or the steps were too short
  int64_t memory = 0;
  MachineRates machine;
  std::vector<Line> phases, operations;
  std::vector<std::string> notes;  // of the backend

  double step() const {  // the median
    std::vector<double> sorted = seconds;
    std::ranges::sort(sorted);
    return sorted[sorted.size() / 2];
  }
  double all_seconds() const { return std::reduce(seconds.begin(), seconds.end()); }
};

void fill_tables(Result& result, const ClockedOps& timed) {
  std::map<std::string, Line> phases, operations;
  for (const auto& [name, entry] : timed.entries()) {
    phases[entry.phase].add(entry, result.machine);
    operations[name].add(entry, result.machine);
  }
  result.phases = by_time(phases);
  result.operations = by_time(operations);
}

train::RunConfig load_settled(const Options& options) {
  train::RunConfig config = train::RunConfig::load(read_configurations(options.config), options.overrides);
  settle_precision(config);  // the line of the device says the type
  return config;
}

Result measure(const Options& options) {
  const double started = steady_seconds();
  train::RunConfig config = load_settled(options);
  config.check_trainable(true);
  const train::TrainingConfig& training = config.training;
  const backend::Backend backend =
      backend::make_backend(training.device, static_cast<int>(training.threads), train::arithmetic(training));
  Device& device = *backend.device;
  if (options.energy && !device.joules())
    throw UserError("--energy", "a device with a counter of energy (an NVIDIA GPU, Volta or newer)",
                    device.name(), "leave --energy out");
  comm::SoloCommunicator alone;
  train::set_micro_batches(config, alone, backend.on_gpu, device, *backend.ops);
  Result result;
  result.device = backend.description;
  result.machine = measure_machine(train::arithmetic(training).type, device, *backend.ops);

  std::unique_ptr<BalancedOps> balanced;
  if (options.forced_balance)
    balanced =
        std::make_unique<BalancedOps>(*backend.ops, device, training.batch_size * config.model.max_seq_len,
                                      config.model.top_k, config.model.num_experts);
  ClockedOps timed(balanced ? static_cast<Ops&>(*balanced) : *backend.ops, device);
  train::RankGroups groups(config.distributed, config.model, alone, device);
  const auto [arena, placed] =
      train::place<train::TrainingState>(device, config, config.vocabulary(), groups, timed);
  train::TrainingState& state = *placed;
  state.transformer.prepare(device);
  state.weights.initialise(1, *backend.ops);
  model::cast_weights(state.weights, *backend.ops);
  const std::vector<data::Batch> batches(
      static_cast<size_t>(training.gradient_accumulation_steps),
      random_batch(training.batch_size, config.model.max_seq_len, config.vocabulary()));
  constexpr double kShortest = 1;  // seconds of steps that the counter of energy can tell
  std::optional<double> joules_before;
  int64_t step = 0;
  const auto timed_step = [&] {
    const double before = steady_seconds();
    train::run_step(state, training, batches, {step++, training.learning_rate}, device, timed);
    device.synchronize();
    return steady_seconds() - before;
  };
  for (int64_t i = 0; i < options.warmup + options.steps; ++i) {
    if (i == options.warmup) joules_before = device.joules();
    const double seconds = timed_step();
    if (i == 0) result.first_step = steady_seconds() - started;
    if (i >= options.warmup) result.seconds.push_back(seconds);
  }
  const std::optional<double> joules_after = device.joules();
  if (joules_after && result.all_seconds() >= kShortest)
    result.joules = (*joules_after - *joules_before) / static_cast<double>(options.steps);
  timed.start();
  if (options.energy) timed.measure_energy(kEnergySeconds);
  timed_step();
  timed.stop();

  result.tokens = static_cast<double>(std::ssize(batches) * batches.front().targets);
  result.flops = model::flops_per_token(config.model, config.model.max_seq_len).total() * result.tokens;
  result.memory = arena->used();
  fill_tables(result, timed);
  result.notes = backend.take_notes();
  return result;
}

OrderedJson json_of(const Result& result, const Options& options) {
  const double step = result.step(), rate = result.flops / step;
  OrderedJson json{{"device", result.device},
                   {"tokens_per_second", result.tokens / step},
                   {"step_ms", 1e3 * step},
                   {"step_ms_min", 1e3 * std::ranges::min(result.seconds)},
                   {"step_ms_max", 1e3 * std::ranges::max(result.seconds)},
                   {"first_step_s", result.first_step},
                   {"gflops", 1e-9 * rate},
                   {"machine_gflops", 1e-9 * result.machine.flops},
                   {"machine_gbytes", 1e-9 * result.machine.bytes},
                   {"of_machine", rate / result.machine.flops},
                   {"wait_us", 1e6 * result.machine.wait},
                   {"forced_balance", options.forced_balance},
                   {"memory_bytes", result.memory},
                   {"steps", options.steps},
                   {"notes", result.notes},
                   {"phases", json_of(result.phases)},
                   {"operations", json_of(result.operations)}};
  if (result.joules) {
    json["step_joules"] = *result.joules;
    json["token_millijoules"] = 1e3 * *result.joules / result.tokens;
  }
  return json;
}

std::string text_of(const Result& result, const Options& options) {
  const double step = result.step(), rate = result.flops / step;
  const Unit unit = unit_of(result.machine);
  std::string text = result.device + "\n";
  for (const std::string& note : result.notes) text += note + "\n";
  if (options.forced_balance) text += "forced balance: every expert gets the same number of tokens\n";
  text += fmt::format(
      "step {:.1f} ms (median of {}; {:.1f} to {:.1f}), {:.0f} tokens/s; first step after {:.1f} s; {}\n",
      1e3 * step, options.steps, 1e3 * std::ranges::min(result.seconds),
      1e3 * std::ranges::max(result.seconds), result.tokens / step, result.first_step,
      format_bytes(static_cast<double>(result.memory)));
  if (result.joules)
    text += fmt::format("{:.0f} J a step, {:.3f} mJ a token, {:.0f} W in the mean\n", *result.joules,
                        1e3 * *result.joules / result.tokens,
                        *result.joules * static_cast<double>(options.steps) / result.all_seconds());
  text += fmt::format(
      "model {:.1f} {}, {:.1f} % of the {:.1f} that this machine reaches in one large random product; copies "
      "{:.0f} GB/s; a wait after an operation costs {:.1f} us\n\n",
      unit.scale * rate, unit.name, 100 * rate / result.machine.flops, unit.scale * result.machine.flops,
      1e-9 * result.machine.bytes, 1e6 * result.machine.wait);
  return text + table("phase", result.phases, unit) + "\n" + table("operation", result.operations, unit);
}

int run(const Options& options) {
  if (options.part == "moe-layer") {
    bench_moe_layer(load_settled(options), options.tokens, options.steps, options.json);
    return 0;
  }
  const Result result = measure(options);
  std::fputs((options.json ? json_of(result, options).dump(1) + "\n" : text_of(result, options)).c_str(),
             stdout);
  return 0;
}

}  // namespace

void add_bench(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("bench", "Measure training speed on this machine, by phase and operation");
  add_config_files(*command, options->config, "Settings of the run (YAML)")->required();
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
  command->add_flag("--forced-balance", options->forced_balance,
                    "Give every expert the same number of tokens, whatever the router says");
  command->add_flag("--energy", options->energy,
                    "Joules of each operation too, repeated for a second (a GPU)");
  command->add_flag("--json", options->json, "One JSON object on standard output");
  add_settings(*command, options->overrides, "Settings that replace those of the file");
  command->footer(
      "Examples:\n"
      "  moe bench --config quickstart\n"
      "  moe bench --config quickstart --json training.threads=1 training.mixed_precision=bf16\n"
      "  moe bench --config configs/train_config.yaml --part moe-layer model.capacity_factor=0\n"
      "Tokens are random; the steps are whole training steps (forward, backward, clipping, optimizer). The "
      "tables are\n"
      "of one more step with a wait after each operation. A floor is the time in which the machine could do "
      "the\n"
      "arithmetic of its large products, or move each tensor once at the rate of its copies, whichever is "
      "longer; both rates are measured first, on random values. Joules are those of the GPU's own counter "
      "(NVML).");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace moe::cli
