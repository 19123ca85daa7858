// SPDX-License-Identifier: MIT
#include "cli/compare_runs.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "backend/ranks.h"
#include "base/error.h"
#include "base/file.h"
#include "comm/solo.h"
#include "net/stop_scope.h"
#include "report/rows.h"
#include "train/run_folder.h"
#include "train/state.h"
#include "train/trainer.h"

namespace moe::cli {
namespace {

namespace fs = std::filesystem;

bool is_run(const fs::path& folder) {
  return fs::exists(folder / "config.yaml");
}

// The rows' step_seconds.
std::vector<double> step_seconds(const fs::path& metrics) {
  std::vector<double> seconds;
  report::RowFile(metrics).read([&] { seconds.clear(); },
                                [&](const metrics::Row& row) {
                                  if (const auto value = row.number("step_seconds"))
                                    seconds.push_back(*value);
                                });
  return seconds;
}

// Removes the folder, and the one above it if it is empty then.
class Temporary {
 public:
  explicit Temporary(fs::path folder) : folder_(std::move(folder)) {}
  ~Temporary() {
    remove_quietly(folder_);
    std::error_code ignored;
    fs::remove(folder_.parent_path(), ignored);
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

 private:
  fs::path folder_;
};

// The arm's step_seconds in a run of so long, which is thrown away; none: a signal came.
std::vector<double> train_for(const Arm& arm, double length_seconds, const StopSignal& stop,
                              Terminal& terminal) {
  constexpr int64_t kManySteps = 1'000'000'000;  // the time ends it
  Arm measured = arm;
  train::TrainingConfig& training = measured.config.training;
  training.max_steps = kManySteps;
  training.max_minutes = length_seconds / 60;
  training.eval_every = training.sample_every = training.checkpoint_every = 0;
  training.tasks.clear();
  measured.config.logging = {};
  measured.config.logging.wandb.mode = wandb::ModeSetting::disabled;
  training.output_dir = (fs::path(training.output_dir) / "calibration").string();
  const train::RunConfig config = run_of(measured, 0);
  const fs::path folder = folder_of_run(config);
  remove_quietly(folder);  // of a process that was killed
  const Temporary removed(folder);
  if (!train_run(config, stop, terminal)) return {};
  std::vector<double> seconds = step_seconds(folder / "metrics.jsonl");
  CHECK(!seconds.empty());
  return seconds;
}

}  // namespace

fs::path folder_of_run(const train::RunConfig& config) {
  return fs::path(config.training.output_dir) / config.training.run_name;
}

report::LossCurve curve_of_run(const train::RunConfig& config) {
  const fs::path folder = folder_of_run(config);
  if (!is_run(folder)) return {};
  const auto differences = setting_differences(config, train::RunConfig::load_run(folder / "config.yaml"));
  if (!differences.empty())
    throw UserError(folder.string(), "a run of this comparison", differences.front(),
                    "name another folder with -o");
  return report::read_loss_curve(folder / "metrics.jsonl");
}

bool train_run(const train::RunConfig& config, const StopSignal& stop, Terminal& terminal) {
  const train::TrainingConfig& training = config.training;
  backend::Backend backend =
      backend::make_backend(training.device, backend::threads_of_rank(training.threads, comm::Launch()),
                            train::arithmetic(training));
  comm::SoloCommunicator alone;
  terminal.line("device    " + backend.description);
  const bool resume = is_run(folder_of_run(config));
  const train::RunFolder folder = resume ? train::RunFolder::open(folder_of_run(config))
                                         : train::RunFolder::create(config, training.run_name);
  std::unique_ptr<train::Trainer> trainer;
  try {
    const net::StopScope scope(stop.token());  // nothing is trained yet: a signal ends all waiting
    trainer = std::make_unique<train::Trainer>(config, folder, resume, *backend.device, *backend.ops, alone,
                                               stop.number(), terminal);
  } catch (const net::Cancelled&) {
    if (!resume) folder.discard();
    return false;
  } catch (...) {
    if (!resume) folder.discard();
    throw;
  }
  return trainer->run() != train::Outcome::signal;
}

double measure_step_seconds(const Arm& arm, double budget_seconds, const StopSignal& stop,
                            Terminal& terminal) {
  // The first steps of a process are slow (libraries load, kernels are chosen): too few would say nothing.
  constexpr size_t kLeastSteps = 16;
  constexpr double kMostSeconds = 60, kShare = 0.1;
  terminal.line(fmt::format("{}: measuring the time of a step", arm.name));
  for (double length = std::min(kMostSeconds, kShare * budget_seconds);; length *= 2) {
    std::vector<double> seconds = train_for(arm, length, stop, terminal);
    if (seconds.empty()) return 0;
    if (seconds.size() < kLeastSteps && length < budget_seconds) continue;
    const auto half = seconds.begin() + std::ssize(seconds) / 2, middle = half + (seconds.end() - half) / 2;
    std::nth_element(half, middle, seconds.end());
    return *middle;
  }
}

}  // namespace moe::cli
