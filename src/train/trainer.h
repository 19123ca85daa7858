// SPDX-License-Identifier: MIT
// A training run: load, forward, backward, clip, update, report; look at the model (train/evaluator.h) and
// save now and then; stop at the end, when train/run_control.h says so, or when a loss is not finite. One
// path for a new and a resumed run.
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
#include "data/opening.h"
#include "metrics/sink.h"
#include "text/tokenizer.h"
#include "train/epochs.h"
#include "train/evaluator.h"
#include "train/periodic_work.h"
#include "train/report.h"
#include "train/run_config.h"
#include "train/run_control.h"
#include "train/run_folder.h"
#include "train/saver.h"
#include "train/start_times.h"
#include "train/state.h"
#include "train/step.h"

namespace moe::train {

// What a process has begun before its trainer.
struct Begun {
  StartTimes times;
  data::Opening* text = nullptr;  // that of data.source or data.mixture; null: the trainer opens it
};

class Trainer {
 public:
  // resume: from the folder's latest checkpoint; without one, from the start. Nothing is trained here yet,
  // but everything that can be wrong with the settings, the data and the memory is found here. The run's
  // folder is owned (RunFolder::own) before anything of it is swept, cut or written. device and ops are used
  // for as long as the object lives, as is communicator: each rank has a trainer, all of one folder, and rank
  // 0 writes there. stop: becomes the signal's number when the run should save and end; any rank's will do.
  // begun: what went before, of which the first step tells the times.
  Trainer(const RunConfig& config, const RunFolder& folder, bool resume, Device& device, Ops& ops,
          comm::Communicator& communicator, const std::atomic<int>& stop, Terminal& terminal,
          Begun begun = {});
  ~Trainer();

  // Returns after the last checkpoint is written, and throws after that, where all ranks throw. Throws
  // UserError for a loss that is not finite (training.on_nan = stop), after saving the last good state; with
  // many ranks a SharedError. All ranks return the same.
  Outcome run();

  // Called once, by all ranks, when the first step of this process is done, or when the run has ended well
  // without one: from then on the run has taken its settings.
  void when_accepted(std::function<void()> body) { accepted_ = std::move(body); }

  const RunFolder& folder() const { return folder_; }  // it may be moved while the run goes on
  int64_t step() const { return step_; }               // steps done
  int signal() const { return control_.signal(); }     // that ended the run: of any rank; 0: none

 private:
  void tell_memory(bool in_full);
  void tell_text();
  void begin(const checkpoint::CheckpointStore& store, bool resume);
  void resume_from(const checkpoint::Checkpoint& checkpoint);
  void open_loader(const data::Cursor& start);
  void open_saver(const checkpoint::CheckpointStore& store);
  void list_periodic_work();
  void look_what_was_made();
  // The data of a step, or why the run ends while it waits for that.
  Outcome next_batches(std::vector<data::Batch>& batches);
  void tell_late(double seconds);
  void or_save(const std::function<void()>& body);
  bool of_all(const UserError& error) const;  // all ranks have it and can act on it together
  StepRates next_rates() const;
  StepResult train_step(const StepRates& rates, const std::vector<data::Batch>& batches,
                        StepContext& context);
  void write_row(const StepResult& result, StepContext& context, int64_t tokens_before, double seconds);
  Hardware hardware() const;
  // Does it and counts its time for the next row.
  void timed(const char* phase, const std::function<void()>& body);
  bool epochs_are_over() const;  // training.max_epochs
  bool is_complete() const;
  bool looks_at_next_step() const;   // whether a validation follows it
  Outcome do_due_work(bool at_end);  // signal: it was interrupted
  Outcome train();
  Outcome train_steps();
  void end_start(const char* part);
  void tell_start();
  void say_complete();
  void say_where_the_rate_is();
  void accept();
  void find_folder();
  // Begins a checkpoint of this step; where the run ends, waits until it is on the disk.
  void begin_saving();
  void save();
  // Whether the run should end now, and why; the same answer on all ranks.
  Outcome decide(double step_seconds);
  bool has_trained() const { return step_ > 0 || saved_step_ >= 0; }  // there is something to lose
  bool due(int64_t every) const { return every > 0 && step_ % every == 0; }
  void not_finite(const StepResult& result);
  void overflow(const StepResult& result);
  void skip_spike(const StepResult& result);

  RunConfig config_;
  RunFolder folder_;
  Device& device_;
  Ops& ops_;
  comm::Communicator& communicator_;
  Terminal& terminal_;

  std::shared_ptr<const text::Tokenizer> tokenizer_ = config_.data.tokenizer.open();
  RankGroups groups_;
  RunControl control_;
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<TrainingState> state_;
  std::unique_ptr<Saver> saver_;
  const double flops_per_token_;
  std::optional<double> peak_flops_;  // of all ranks, where the device's is known
  std::shared_ptr<const data::Source> source_;
  std::unique_ptr<data::Loader> loader_;
  std::optional<Epochs> epochs_;
  std::unique_ptr<Evaluator> evaluator_;
  PeriodicWorks periodic_;
  std::unique_ptr<metrics::Sink> sinks_;
  std::map<std::string, double> phase_seconds_;  // since the last row
  std::optional<StartTimes> start_;              // until the first step is done
  std::function<void()> accepted_;               // until it is called

  int64_t step_ = 0;
  int64_t saved_step_ = -1;
  data::Cursor cursor_;  // where the next step's data starts, as far as this rank knows
  int64_t tokens_ = 0;   // targets of all ranks since the beginning
};

}  // namespace moe::train
