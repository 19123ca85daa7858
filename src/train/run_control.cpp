// SPDX-License-Identifier: MIT
#include "train/run_control.h"

#include <fmt/format.h>

#include "base/host.h"
#include "base/steady_seconds.h"

namespace moe::train {

RunControl::RunControl(double max_minutes, const std::atomic<int>& stop, comm::Communicator& communicator,
                       Terminal& terminal)
    : limit_seconds_(60 * max_minutes),
      started_(steady_seconds()),
      stop_(stop),
      communicator_(communicator),
      terminal_(terminal),
      places_(communicator.gather_text(process_name())) {}

bool RunControl::interrupted() {
  for (const int signal : communicator_.gather(int{stop_}))
    if (signal_ == 0) signal_ = signal;
  return signal_ != 0;
}

bool RunControl::time_is_up() const {
  return limit_seconds_ > 0 && steady_seconds() - started_ > limit_seconds_;
}

Supply RunControl::supply(Supply mine, Outcome& outcome) {
  struct Rank {
    Supply supply;
    bool time_is_up;
    int signal;
  };
  bool failed = false, is_up = false;
  int signal = 0;
  late_.clear();
  const std::vector<Rank> ranks = communicator_.gather(Rank{mine, time_is_up(), stop_});
  for (size_t r = 0; r < ranks.size(); ++r) {
    failed = failed || ranks[r].supply == Supply::failed;
    is_up = is_up || ranks[r].time_is_up;
    if (signal == 0) signal = ranks[r].signal;
    if (ranks[r].supply == Supply::late) late_.push_back(static_cast<int>(r));
  }
  outcome = Outcome::finished;
  if (failed || late_.empty()) return failed ? Supply::failed : Supply::complete;
  if (signal_ == 0) signal_ = signal;
  outcome = signal_ != 0 ? Outcome::signal : is_up ? Outcome::time_limit : Outcome::finished;
  return Supply::late;
}

Outcome RunControl::meet(Saver::State saving, double step_seconds, bool folder_lost,
                         const Epochs::Counts& epochs) {
  struct Rank {
    int signal;
    bool time_is_up, folder_lost;
    Saver::State saving;
    double waited;
    Epochs::Counts epochs;
  };
  bool is_up = time_is_up();
  const Rank mine{stop_, is_up, folder_lost, saving, communicator_.waited(), epochs};
  std::vector<double> waited;
  saving_.clear();
  epochs_ = epochs;
  for (const Rank& rank : communicator_.gather(mine)) {
    if (signal_ == 0) signal_ = rank.signal;
    is_up = is_up || rank.time_is_up;
    folder_lost_ = folder_lost_ || rank.folder_lost;
    saving_.push_back(rank.saving);
    waited.push_back(rank.waited);
    epochs_ = Epochs::least(epochs_, rank.epochs);
  }
  if (folder_lost_)
    throw comm::SharedError("the run's folder", "this process to be the only one that trains it",
                            "another one took it over while this one gave no sign of life",
                            "the run goes on there; this process writes nothing more");
  if (communicator_.size() > 1) look_for_stragglers(waited, step_seconds);
  return signal_ != 0 ? Outcome::signal : is_up ? Outcome::time_limit : Outcome::finished;
}

void RunControl::look_for_stragglers(std::span<const double> waited, double step_seconds) {
  last_step_ = stragglers_.add(waited, step_seconds);
  if (const auto slow = stragglers_.verdict())
    terminal_.warning(fmt::format(
        "rank {} of {} ({}) is slow: in the last {} steps the others waited {:.3f} s of each {:.3f} s for it",
        slow->rank, communicator_.size(), places_[static_cast<size_t>(slow->rank)], Stragglers::kWindow,
        slow->lost, slow->step));
}

}  // namespace moe::train
