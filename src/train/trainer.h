// SPDX-License-Identifier: MIT
// A training run: load, forward, backward, clip, update, report; validate, sample and save now and then; stop
// at the end, on a signal, when the time is up, or when a loss is not finite. One path for a new and a
// resumed run.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/terminal.h"
#include "checkpoint/checkpoint.h"
#include "comm/communicator.h"
#include "data/loader.h"
#include "metrics/sink.h"
#include "text/tokenizer.h"
#include "train/probe.h"
#include "train/report.h"
#include "train/run_config.h"
#include "train/run_folder.h"
#include "train/saver.h"
#include "train/state.h"

namespace moe {

enum class Outcome : uint8_t { finished, signal, time_limit };

class Trainer {
 public:
  // resume: from the folder's latest checkpoint; without one, from the start. Nothing is trained here yet,
  // but everything that can be wrong with the settings, the data and the memory is found here. device and ops
  // are used for as long as the object lives, as is communicator: each rank has a trainer, all of one folder, and rank 0
  // writes there. stop: becomes the signal's number when the run should save and end; any rank's will do.
  Trainer(const RunConfig& config, const RunFolder& folder, bool resume, Device& device, Ops& ops,
          Communicator& communicator, const std::atomic<int>& stop, Terminal& terminal);
  ~Trainer();

  // Returns after the last checkpoint is written, and throws after that, where all ranks throw. Throws UserError for a loss that is not finite
  // (training.on_nan = stop), after saving the last good state; with many ranks a SharedError. All ranks return the same.
  Outcome run();

  int64_t step() const { return step_; }  // steps done
  int signal() const { return signal_; }  // that ended the run: of any rank; 0: none

 private:
  void resume_from(const Checkpoint& checkpoint);
  void open_data(const Cursor& start);
  void open_saver(const CheckpointStore& store);
  void open_validation(const std::shared_ptr<const Source>& text, Part part);
  std::vector<Batch> next_batches();
  void or_save(const std::function<void()>& body);
  void with_model(const std::function<void()>& body);  // that runs it, but trains nothing
  bool of_all(const UserError& error) const;           // all ranks have it and can act on it together
  StepResult train_step(double learning_rate, StepContext& context);
  void write_row(const StepResult& result, StepContext& context, int64_t tokens_before, double seconds);
  // Does it and counts its time for the next row.
  void timed(const char* phase, const std::function<void()>& body);
  std::optional<Evaluation> validate();
  bool looks_at_next_step() const;  // whether a validation follows it
  void run_tasks();
  void sample();
  Outcome train();
  // Begins a checkpoint of this step; where the run ends, waits until it is on the disk.
  void begin_saving();
  void save();
  // Whether the run should end now, and why; the same answer on all ranks.
  Outcome decide(double seconds, double step_seconds);
  void look_for_stragglers(const std::vector<double>& waited, double step_seconds);
  bool due(int64_t every) const { return every > 0 && step_ % every == 0; }
  void not_finite(const StepResult& result);
  void overflow(const StepResult& result);

  RunConfig config_;
  RunFolder folder_;
  Device& device_;
  Ops& ops_;
  Communicator& communicator_;
  const std::atomic<int>& stop_;
  Terminal& terminal_;

  Tokenizer tokenizer_;
  RankGroups groups_;
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<TrainingState> state_;
  std::unique_ptr<Saver> saver_;
  const double flops_per_token_;
  std::optional<double> peak_flops_;  // of all ranks, where the device's is known
  std::vector<std::string> places_;   // of the ranks' processes
  Stragglers stragglers_;
  std::optional<Stragglers::Step> last_step_;  // of several ranks
  std::shared_ptr<const Source> source_;
  std::unique_ptr<Loader> loader_;
  std::vector<Batch> validation_;   // this rank's part of the held-out batches, the same each time
  std::unique_ptr<TaskSet> tasks_;  // null without any
  std::unique_ptr<Sink> sinks_;
  std::unique_ptr<Probe> probe_;
  std::map<std::string, double> phase_seconds_;  // since the last row
  bool first_row_ = true;

  int64_t step_ = 0;
  int64_t saved_step_ = -1;
  Cursor cursor_;       // where the next step's data starts, as far as this rank knows
  int64_t tokens_ = 0;  // targets of all ranks since the beginning
  int signal_ = 0;
};

}  // namespace moe
