// SPDX-License-Identifier: MIT
// What a run looks at beside its steps: the loss on held-out text, the scores in tasks, samples of its
// writing, and a probe into the model. Each is one row of the record. When they are due, and what happens
// when one fails, is the trainer's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/terminal.h"
#include "comm/communicator.h"
#include "data/batch.h"
#include "data/order.h"
#include "data/source.h"
#include "metrics/row.h"
#include "ops/ops.h"
#include "tasks/task_set.h"
#include "tensor/device.h"
#include "text/tokenizer.h"
#include "train/probe.h"
#include "train/run_config.h"
#include "train/run_folder.h"
#include "train/state.h"

namespace moe::train {

class Evaluator {
 public:
  // Reads the held-out text and the items of the tasks. text: that the run trains on. between: called by all
  // ranks together between two batches and two samples; it may throw to end the work. All are used while the
  // object lives. Throws UserError.
  Evaluator(const RunConfig& config, const RunFolder& folder, const std::shared_ptr<const data::Source>& text,
            const text::Tokenizer& tokenizer, TrainingState& state, comm::Communicator& communicator,
            Device& device, Ops& ops, Terminal& terminal, std::function<void()> between);

  bool has_validation() const { return !validation_.empty(); }
  bool has_tasks() const { return tasks_ != nullptr; }
  Probe& probe() { return probe_; }

  // All ranks call these together, with the weights of `step` complete on each, and get the same row. What
  // `between` throws comes through; nothing is written then.
  metrics::Row validate(int64_t step, int64_t tokens);
  // Each rank scores its share.
  metrics::Row run_tasks(int64_t step, int64_t tokens);
  // Writes samples/ too.
  metrics::Row sample(int64_t step);

 private:
  void keep_sample(int64_t step, const std::string& text);
  void encode_sample_prompt();
  void open_validation(const std::shared_ptr<const data::Source>& text);
  void read_validation(const std::shared_ptr<const data::Source>& text, data::Part part);

  const RunConfig& config_;
  const RunFolder& folder_;
  const text::Tokenizer& tokenizer_;
  TrainingState& state_;
  comm::Communicator& communicator_;
  Device& device_;
  Ops& ops_;
  Terminal& terminal_;
  std::function<void()> between_;
  std::vector<data::Batch> validation_;    // this rank's part of the held-out batches, the same each time
  int64_t validation_tokens_ = 0;          // of all ranks
  std::unique_ptr<tasks::TaskSet> tasks_;  // null without any
  Probe probe_;
  std::vector<text::TokenId> sample_prompt_;  // with the end of text before it
};

}  // namespace moe::train
