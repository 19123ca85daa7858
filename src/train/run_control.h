// SPDX-License-Identifier: MIT
// Whether a run goes on. Between two steps all ranks meet and tell each other of signals, of the time, of the
// checkpoints they write and of how long they waited for one another.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/terminal.h"
#include "comm/communicator.h"
#include "train/epochs.h"
#include "train/saver.h"
#include "train/stragglers.h"

namespace moe::train {

enum class Outcome : uint8_t { finished, signal, time_limit };

// Whether a rank has the data of a step.
enum class Supply : uint8_t { complete, late, failed };

class RunControl {
 public:
  // All ranks make theirs together. The time counts from now. max_minutes: 0 for no limit. stop: becomes the
  // number of the signal that asks this rank to end.
  RunControl(double max_minutes, const std::atomic<int>& stop, comm::Communicator& communicator,
             Terminal& terminal);

  // All ranks together: whether a signal came to any of them. For what takes longer than a step.
  bool interrupted();
  // All ranks together, before each step and again as long as some rank's data is late. failed: of some rank.
  // late: of some rank, whose numbers are in late_ranks(); outcome then says whether, and why, the run should
  // end in place of waiting.
  Supply supply(Supply mine, Outcome& outcome);
  const std::vector<int>& late_ranks() const { return late_; }

  // All ranks together, between two steps. Whether the run should end now, and why, the same answer on all;
  // finished: it goes on as far as its steps go. Warns of a rank that the others wait for. folder_lost: this
  // rank found that another process has taken the run; all ranks throw then, and nothing may be written any
  // more.
  Outcome meet(Saver::State saving, double step_seconds, bool folder_lost, const Epochs::Counts& epochs);

  // What all ranks' streams have completed, as told when they met.
  const Epochs::Counts& epochs() const { return epochs_; }
  std::span<const Saver::State> saving() const { return saving_; }  // of all ranks, when they met
  bool folder_lost() const { return folder_lost_; }
  const std::optional<Stragglers::Step>& stragglers() const { return last_step_; }  // of several ranks
  int signal() const { return signal_; }  // that ends the run: of any rank; 0: none

 private:
  bool time_is_up() const;
  void look_for_stragglers(std::span<const double> waited, double step_seconds);

  const double limit_seconds_, started_;
  const std::atomic<int>& stop_;
  comm::Communicator& communicator_;
  Terminal& terminal_;
  std::vector<std::string> places_;  // of the ranks' processes
  Stragglers stragglers_;
  std::optional<Stragglers::Step> last_step_;
  std::vector<Saver::State> saving_;
  Epochs::Counts epochs_{};
  std::vector<int> late_;
  int signal_ = 0;
  bool folder_lost_ = false;
};

}  // namespace moe::train
