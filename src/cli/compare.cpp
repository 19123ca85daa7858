// SPDX-License-Identifier: MIT
// moe compare: configurations against each other, on the same batches, with several seeds.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/format.h"
#include "base/parse_number.h"
#include "base/terminal.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/compare_arms.h"
#include "cli/compare_runs.h"
#include "cli/run_views.h"
#include "cli/stop_signal.h"
#include "comm/launch.h"
#include "report/comparison.h"
#include "report/page.h"

namespace moe::cli {
namespace {

namespace fs = std::filesystem;

struct CompareOptions {
  std::vector<fs::path> arms, base;
  std::string output, budget;
  std::vector<std::string> overrides;
  int64_t seeds = 3, steps = 0, evaluations = 20;
  bool json = false, verbose = false;
};

// "90", "90s", "10m", "1.5h", in seconds.
double parse_budget(const std::string& text) {
  constexpr std::pair<char, double> kUnits[] = {{'s', 1}, {'m', 60}, {'h', 3600}};
  std::string number = text;
  double unit = 1;
  for (const auto& [letter, seconds] : kUnits)
    if (number.ends_with(letter)) {
      number.pop_back();
      unit = seconds;
      break;
    }
  const auto value = parse_number<double>(number);
  if (!value || !(*value > 0) || !std::isfinite(*value))
    throw UserError("--budget", "a time for each run, as 90s, 10m or 2h", fmt::format("\"{}\"", text));
  return *value * unit;
}

fs::path output_of(const CompareOptions& options) {
  if (!options.output.empty()) return options.output;
  std::vector<std::string> names;
  for (const fs::path& arm : options.arms) names.push_back(arm.stem().string());
  return fs::path("runs") / fmt::format("compare-{}", fmt::join(names, "-"));
}

// A comparison in its folder.
class Comparing {
 public:
  Comparing(const CompareOptions& options, const StopSignal& stop, Terminal& terminal)
      : options_(options),
        folder_(output_of(options)),
        stop_(stop),
        terminal_(terminal),
        arms_(load_arms(options.arms, options.base, options.overrides, folder_)),
        file_(folder_) {
    if (!options.budget.empty()) budget_ = parse_budget(options.budget);
    length_ = length_in_words();
  }

  // False: a signal came.
  bool run() {
    const bool begun = file_.exists();
    try {
      const bool done = train_all(begun);
      if (!done && !begun) discard_if_nothing();
      return done;
    } catch (...) {
      if (!begun) discard_if_nothing();
      throw;
    }
  }

  void print() const {
    const report::Comparison comparison = results(options_.seeds);
    if (budget_ > 0) check_time(comparison);
    constexpr size_t kDifferences = 8;
    std::string text = report::comparison_table(
        comparison, options_.verbose ? std::numeric_limits<size_t>::max() : kDifferences);
    if (options_.json) text = report::comparison_json(comparison).dump(1) + "\n";
    std::fputs(text.c_str(), stdout);
    terminal_.line(fmt::format("results   {0}/compare.json\npage      {0}/compare.html: open it in a browser",
                               folder_.string()));
  }

  fs::path folder() const { return folder_; }

 private:
  bool train_all(bool begun) {
    if (begun)
      file_.take_lengths(arms_, length_, options_.evaluations);
    else if (!choose_lengths())
      return false;
    check_runs();
    if (!begun) file_.write(arms_, length_);
    for (int64_t k = 0; k < options_.seeds; ++k) {
      if (!train_seed(k)) return false;
      write_results(k + 1);
    }
    return true;
  }

  // A comparison that ends before it has a run leaves nothing behind.
  void discard_if_nothing() const {
    const auto has_run = [](const Arm& arm) { return fs::exists(folder_of_run(run_of(arm, 0))); };
    if (std::ranges::none_of(arms_, has_run)) file_.remove();
  }

  std::string length_in_words() const {
    if (budget_ > 0) return fmt::format("{} of training for each run", format_duration(budget_));
    if (options_.steps > 0) return fmt::format("{} steps", options_.steps);
    std::vector<int64_t> steps;
    for (const Arm& arm : arms_) steps.push_back(arm.config.training.max_steps);
    return fmt::format("{} steps, as configured", fmt::join(steps, " and "));
  }

  bool choose_lengths() {
    for (Arm& arm : arms_) {
      int64_t steps = options_.steps > 0 ? options_.steps : arm.config.training.max_steps;
      std::string measured;
      if (budget_ > 0) {
        const ShortLines lines(terminal_, prefix(arm.name));
        const double seconds = measure_step_seconds(arm, budget_, stop_, terminal_);
        if (seconds == 0) return false;
        steps = std::max<int64_t>(1, std::llround(std::floor(budget_ / seconds)));
        measured = fmt::format("{}: {} a step, so {} steps in {}", arm.name, format_duration(seconds), steps,
                               format_duration(budget_));
      }
      if (!measured.empty()) terminal_.line(measured);
      if (steps == 0)
        throw UserError("training.max_steps of " + arm.name, "at least one step", "0", "give --steps N");
      set_length(arm.config, steps, options_.evaluations);
    }
    return true;
  }

  // Before the live line of a run; none: its lines stay.
  std::string prefix(const std::string& of_run) const { return options_.verbose ? "" : of_run; }

  // Before anything is trained.
  void check_runs() const {
    for (const Arm& arm : arms_)
      for (int64_t k = 0; k < options_.seeds; ++k) curve_of_run(run_of(arm, k));
  }

  bool train_seed(int64_t k) {
    for (size_t i = 0; i < arms_.size(); ++i) {
      const train::RunConfig config = run_of(arms_[i], k);
      const std::string place =
          fmt::format("run {} of {}, {}", k * std::ssize(arms_) + static_cast<int64_t>(i) + 1,
                      options_.seeds * std::ssize(arms_), config.training.run_name);
      if (curve_of_run(config).reaches_step(config.training.max_steps)) {
        terminal_.line(fmt::format("{}: done already", place));
        continue;
      }
      if (options_.verbose) terminal_.line(place);
      {
        const ShortLines lines(terminal_, prefix(place));
        if (!train_run(config, stop_, terminal_)) return false;
      }
      const report::LossCurve curve = curve_of_run(config);
      if (!curve.reaches_step(config.training.max_steps))
        throw UserError(folder_of_run(config).string(),
                        fmt::format("a validation after {} steps", config.training.max_steps), "none",
                        "there is no held-out text: set data.validation_source, or raise "
                        "data.validation_fraction");
      terminal_.line(fmt::format("{}: validation loss {:.4f}, {} in steps", place, curve.last(),
                                 format_duration(curve.seconds)));
    }
    return true;
  }

  report::Comparison results(int64_t seeds) const {
    report::Comparison comparison{.length = length_, .arms = {}};
    if (budget_ > 0) comparison.length += ", in steps by a measured step";
    for (const Arm& arm : arms_) {
      report::ComparedArm compared{.name = arm.name,
                                   .differences = setting_differences(arms_.front().config, arm.config),
                                   .steps = arm.config.training.max_steps,
                                   .runs = {}};
      for (int64_t k = 0; k < seeds; ++k) {
        const train::RunConfig config = run_of(arm, k);
        compared.runs.push_back({config.training.seed, config.training.run_name, curve_of_run(config)});
      }
      comparison.arms.push_back(std::move(compared));
    }
    return comparison;
  }

  // Steps were measured before; the machine may have been busier then, or be now.
  void check_time(const report::Comparison& comparison) const {
    constexpr double kNotice = 0.1;
    const std::vector<report::ArmSummary> summaries = report::summarise(comparison);
    for (size_t i = 0; i < summaries.size(); ++i)
      if (const double off = summaries[i].seconds.mean / budget_ - 1; std::abs(off) > kNotice)
        terminal_.warning(fmt::format("{}: runs took {:.0f} % {} time than the budget: times are not equal",
                                      arms_[i].name, 100 * std::abs(off), off > 0 ? "more" : "less"));
  }

  // Of complete seeds only: differences are pairs.
  void write_results(int64_t seeds) const {
    const report::Comparison comparison = results(seeds);
    std::vector<report::RunView> views;
    for (int64_t k = 0; k < seeds; ++k)
      for (const Arm& arm : arms_) {
        WatchedRun run(folder_of_run(run_of(arm, k)).string());
        run.read();
        views.push_back(run.view());
      }
    write_file_atomically(folder_ / "compare.json", report::comparison_json(comparison).dump(1) + "\n");
    write_file_atomically(folder_ / "compare.html", report::page(views, comparison));
  }

  const CompareOptions& options_;
  fs::path folder_;
  const StopSignal& stop_;
  Terminal& terminal_;
  std::vector<Arm> arms_;
  ArmsFile file_;
  std::string length_;  // of the runs, in words
  double budget_ = 0;   // seconds; 0: none
};

int compare(const CompareOptions& options) {
  if (options.arms.size() < 2)
    throw UserError("moe compare", "two configurations at least", "one", "`moe train` trains one");
  if (const comm::Launch launch = comm::find_launch({}, [](const char* name) { return std::getenv(name); });
      !launch.alone())
    throw UserError("moe compare", "one process", fmt::format("{} ranks", launch.size),
                    "start it without " + launch.by);
  const StopSignal stop;
  Terminal terminal;
  Comparing comparing(options, stop, terminal);
  if (!comparing.run()) {
    terminal.line(fmt::format("stopped by signal {}; saved. The same command goes on from here (in {})",
                              stop.number().load(), comparing.folder().string()));
    return 128 + stop.number();
  }
  comparing.print();
  return 0;
}

}  // namespace

void add_compare(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<CompareOptions>();
  CLI::App* command =
      app.add_subcommand("compare", "Train configurations on the same batches, and tell which is better");
  command->add_option("arms", options->arms, "Settings of each arm (YAML); differences are to the first")
      ->required()
      ->type_name("FILE");
  add_config_files(*command, options->base, "Settings under those of every arm (YAML)");
  command->add_option("--seeds", options->seeds, "Runs of each arm: training.seed and those after it")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  auto* budget =
      command->add_option("--budget", options->budget,
                          "Time in steps of each run, as 90s, 10m, 2h: how many steps that is gets "
                          "measured");
  budget->type_name("TIME");
  command->add_option("--steps", options->steps, "Steps of each run; default: as configured")
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, int64_t{1'000'000'000}))
      ->excludes(budget);
  command->add_option("--evaluations", options->evaluations, "On held-out text in each run")
      ->type_name("N")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command->add_option("-o,--output", options->output, "Folder; default: runs/compare- and the arms' names")
      ->type_name("DIR");
  command->add_flag("--json", options->json, "The result as JSON in place of the table");
  command->add_flag("--verbose", options->verbose, "The lines of each run, and all settings that differ");
  add_settings(*command, options->overrides, "Settings of all arms, over those of the files");
  command->footer(
      "Examples:\n"
      "  moe compare adamw.yaml muon.yaml --budget 10m\n"
      "  moe compare --config quickstart low.yaml high.yaml --seeds 5 --steps 300 -o "
      "runs/rates\n"
      "Arms share text, order, tokens in a step and held-out text, seed by seed. The same command goes on "
      "where it was\n"
      "stopped, and --seeds may be raised later. docs/compare.md says how to read the result.");
  command->callback([options, &chosen] { chosen = [options] { return compare(*options); }; });
}

}  // namespace moe::cli
