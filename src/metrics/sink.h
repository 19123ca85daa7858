// SPDX-License-Identifier: MIT
// Where rows go. A sink only looks on: it never throws because its disk or network fails, and never slows the
// run (one that might wait for either sits behind a Background, metrics/background.h).
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "metrics/row.h"

namespace moe::metrics {

class Sink {
 public:
  virtual ~Sink() = default;
  // Rows come in the order of their steps; several may share a step: one of training, one of validation,
  // alerts.
  virtual void write(const Row& row) = 0;
  // What the person at the terminal was told: whole lines, without the last newline.
  virtual void told(const std::string& /*text*/) {}
  // The run's folder is this one by now: it was moved, or deleted and made anew.
  virtual void moved(const std::filesystem::path& /*folder*/) {}
  // A checkpoint is about to be written: where the record is, its rows so far survive a power loss first.
  virtual void settle() {}
  // The run ends with an error; finish() will not come.
  virtual void broke(const std::string& /*why*/) {}
  // The run ends, as a program with this exit code would; nothing comes after. Without it the run broke off.
  virtual void finish(int /*exit_code*/) {}
};

// One row to many sinks, in the order they were added. None attached is fine: then rows go nowhere.
class FanOut final : public Sink {
 public:
  void add(std::unique_ptr<Sink> sink) { sinks_.push_back(std::move(sink)); }
  void write(const Row& row) override {
    for (const auto& sink : sinks_) sink->write(row);
  }
  void told(const std::string& text) override {
    for (const auto& sink : sinks_) sink->told(text);
  }
  void moved(const std::filesystem::path& folder) override {
    for (const auto& sink : sinks_) sink->moved(folder);
  }
  void settle() override {
    for (const auto& sink : sinks_) sink->settle();
  }
  void broke(const std::string& why) override {
    for (const auto& sink : sinks_) sink->broke(why);
  }
  // The last first: it may still write to those before it (metrics/alerts.h).
  void finish(int exit_code) override {
    for (auto sink = sinks_.rbegin(); sink != sinks_.rend(); ++sink) (*sink)->finish(exit_code);
  }

 private:
  std::vector<std::unique_ptr<Sink>> sinks_;
};

}  // namespace moe::metrics
