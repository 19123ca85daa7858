// SPDX-License-Identifier: MIT
// Where rows go. A sink only looks on: it never throws because its disk or network fails, and never slows the
// run.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "metrics/row.h"

namespace moe {

class Sink {
 public:
  virtual ~Sink() = default;
  // Rows come in the order of their steps; a training row and a validation row may share a step.
  virtual void write(const Row& row) = 0;
};

// One row to many sinks, in the order they were added. None attached is fine: then rows go nowhere.
class FanOut final : public Sink {
 public:
  void add(std::unique_ptr<Sink> sink) { sinks_.push_back(std::move(sink)); }
  void write(const Row& row) override {
    for (const auto& sink : sinks_) sink->write(row);
  }

 private:
  std::vector<std::unique_ptr<Sink>> sinks_;
};

}  // namespace moe
