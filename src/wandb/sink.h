// SPDX-License-Identifier: MIT
// Rows as records of a .wandb file: the native run folder of Weights & Biases. All rows of a step become one
// line of its history (there a step is there once), with `_step`, `_runtime` and `_timestamp`; lists become
// histograms (metrics/histogram.h). The file has everything: uploading (wandb/uploader.h) reads it, now or
// later.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/backlog.h"
#include "base/terminal.h"
#include "metrics/sink.h"
#include "metrics/system.h"
#include "wandb/config.h"
#include "wandb/record_file.h"
#include "wandb/run_files.h"

namespace moe::wandb {

namespace pb {
class Record;
}

struct RunInfo {
  std::string config_json;  // {"section": {"key": value}}
  std::vector<std::string> arguments;
};

double unix_seconds();

class RecordSink final : public metrics::Sink {
 public:
  // Begins the file, or goes on in it: then rows of steps that are in its history already (a run that went on
  // from an earlier checkpoint computes them again) are left out, and settings that differ from the file's
  // are recorded. UserError when the file cannot be written or read.
  RecordSink(const Settings& settings, RunFiles files, const RunInfo& info, Terminal& terminal,
             std::function<double()> clock = unix_seconds);
  ~RecordSink() override;
  RecordSink(const RecordSink&) = delete;
  RecordSink& operator=(const RecordSink&) = delete;

  void write(const metrics::Row& row) override;
  void told(const std::string& text) override;
  void finish(int exit_code) override;

  const RunFiles& files() const { return files_; }

 private:
  using Items = std::vector<std::pair<std::string, std::string>>;  // key, JSON

  void begin(const Settings& settings, const RunInfo& info);
  void record_changes();
  int64_t read_what_is_there();
  void append(pb::Record& record);
  void alert(const metrics::Row& row);
  void define(const std::string& key);
  void summarise(const std::string& key, const std::string& json);
  void flush_step();
  void write_summary();
  void sample_system();
  void write_files_for_people();
  double runtime() const { return clock_() - start_; }

  RunFiles files_;
  Terminal& terminal_;
  std::function<double()> clock_;
  std::unique_ptr<RecordWriter> writer_;
  Backlog backlog_;
  metrics::SystemMetrics system_;

  double start_ = 0;  // Unix time at which the run would have started without its pauses
  double last_sample_ = 0;
  int64_t records_ = 0;
  int64_t last_step_ = -1;  // in the history
  int64_t step_ = -1;       // whose items are waiting
  Items items_;
  std::set<std::string> defined_;
  std::map<std::string, std::string> summary_;   // the last value of each key, or that and the best, as JSON
  std::map<std::string, double> best_;           // of keys that have one
  std::map<std::string, std::string> sections_;  // of the settings, as the file has them: JSON
  std::string config_json_, told_;
  bool warned_ = false, finished_ = false;
};

}  // namespace moe::wandb
