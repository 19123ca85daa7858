// SPDX-License-Identifier: MIT
// Work beside the steps of a run, such as validations: what is due at a step, and what was made there
// already.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "metrics/row.h"

namespace moe::train {

struct PeriodicWork {
  int64_t every = 0;               // steps; 0: only at the end of the run
  const char* name = "";           // of its time in the record
  std::string mark;                // how names in its row begin
  bool of_initial_weights = true;  // whether it is due at step 0 as well
  std::function<metrics::Row()> body = {};

  // Whether it made one of the names in a row.
  bool made_one_of(std::span<const std::string> names) const;
};

class PeriodicWorks {
 public:
  // They are done in the order in which they are added.
  void add(PeriodicWork work) { works_.push_back({std::move(work), -1}); }
  // What was made at this step before: it is not due there again.
  void take_as_made(int64_t step, const std::function<bool(const PeriodicWork&)>& was_made);
  // Calls `body` for each that is due at this step and was not made there; at the end all are due. What
  // throws was not made.
  void each_due(int64_t step, bool at_end, const std::function<void(const PeriodicWork&)>& body);

 private:
  struct Entry {
    PeriodicWork work;
    int64_t made;  // at which step, the last time
  };
  std::vector<Entry> works_;
};

}  // namespace moe::train
