// SPDX-License-Identifier: MIT
// The items of some tasks, read once, and their evaluation with a model: whole, in portions that survive an
// interruption (moe eval), or a sample of them now and then (training). Each rank scores its share of the
// items.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/terminal.h"
#include "tasks/question.h"
#include "tasks/result.h"
#include "tasks/scorer.h"

namespace moe::tasks {

class TaskSet {
 public:
  // entries: "TASK=PLACE", as in "hellaswag=hellaswag_val.jsonl": JSON lines (.gz, .zst too) or Parquet
  // (.parquet) on disk, on the hub (hf://datasets/...) or at an https:// address, or a folder of such files.
  // limit: the first so many items of each; 0: all. Throws UserError.
  TaskSet(const std::vector<std::string>& entries, int64_t limit, const std::filesystem::path& cache,
          Terminal& terminal);

  struct Measured {
    Task task;
    Convention convention;
    int64_t items = 0;
    std::vector<std::pair<std::string, double>> values;  // as summarise()
  };
  // Called with each finished item; and asked for the result of an item that is known already. The same on
  // all ranks.
  struct Record {
    std::function<void(Task, Convention, const ItemResult&)> done;
    std::function<const ItemResult*(Task, Convention, int64_t index)> known;
  };

  // All ranks call this together and get the same.
  std::vector<Measured> evaluate(Scorer& scorer, const text::Tokenizer& tokenizer, Terminal& terminal,
                                 const Record& record = {}) const;

  // Leaves out items with a continuation of more than T tokens, which no row takes, and warns of them. Throws
  // UserError when a task has no others.
  void leave_out_longer_than(int64_t T, const text::Tokenizer& tokenizer, Terminal& terminal);

  // Changes with the tasks, their texts and their order.
  const std::string& identity() const { return identity_; }

 private:
  struct Entry {
    Task task;
    std::string place;
    std::vector<std::string> lines;
    std::set<int64_t> left_out = {};
    std::string where(int64_t item) const;
  };
  // Tokens of its longest continuation, in any convention.
  static int64_t longest(const Entry& entry, int64_t item, const text::Tokenizer& tokenizer);
  // The scores of these items, here.
  static std::vector<ItemResult> ask(const Entry& entry, Convention convention,
                                     const std::vector<int64_t>& items, Scorer& scorer,
                                     const text::Tokenizer& tokenizer);
  Measured measure(const Entry& entry, Convention convention, Scorer& scorer,
                   const text::Tokenizer& tokenizer, Terminal& terminal, const Record& record) const;

  std::vector<Entry> entries_;
  std::string identity_;
};

}  // namespace moe::tasks
