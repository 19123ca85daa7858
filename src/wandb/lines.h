// SPDX-License-Identifier: MIT
// A .wandb file as what the service takes of it: numbered lines of three files, a summary, the description of
// the run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "wandb/api.h"
#include "wandb/record_file.h"

namespace moe::wandb {

namespace pb {
class Config;
class Record;
}  // namespace pb

// Lines of one file; the first has the number `first`, counted from 0.
struct Lines {
  int64_t first = 0;
  std::vector<std::string> content;
  int64_t end() const { return first + static_cast<int64_t>(content.size()); }
};

// Reads on as the file grows. What has been taken is forgotten, so a long outage costs no memory.
class LineReader {
 public:
  // Lines below `there` have been uploaded before: they are read over.
  LineReader(const std::filesystem::path& records, const LineCounts& there);

  // Reads until about `bytes` are waiting, or to the end of what is written.
  void read(int64_t bytes);
  // Forgets the lines that are waiting.
  void taken();

  Lines history, events, output;                            // waiting
  std::optional<std::string> summary;                       // the whole, if it has changed since taken()
  std::vector<std::pair<std::string, std::string>> alerts;  // title, text; of all records read
  int64_t waiting_bytes() const { return bytes_; }
  std::optional<int> exit_code() const {
    return exit_code_;
  }  // the run has ended, and all of it has been read

  // As far as it has been read; the settings' entity may be empty.
  RunDescription description() const;
  // How often the description has changed: a metric was defined, settings were replaced.
  int64_t revisions() const { return revisions_; }

 private:
  void take(const pb::Record& record);
  void take_config(const pb::Config& config);
  void add(Lines& lines, int64_t there, std::string line);
  std::string metrics_json() const;

  struct Definition {
    std::string name, step_metric;
    std::vector<int> options, summary;  // numbers of the fields that are set
  };
  RecordReader reader_;
  LineCounts there_;
  int64_t bytes_ = 0;
  double start_ = 0;
  RunDescription run_;
  int64_t revisions_ = 0;
  std::vector<std::pair<std::string, std::string>> config_;  // key, JSON
  std::vector<Definition> metrics_;
  std::map<std::string, std::string> summary_;
  std::string summary_runtime_;
  std::optional<int> exit_code_;
};

}  // namespace moe::wandb
