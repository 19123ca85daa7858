// SPDX-License-Identifier: MIT
// Where a run lives on disk:
//   config.yaml     the resolved settings          metrics.jsonl   one row a step: the record
//   checkpoints/    see checkpoint/checkpoint.h    samples/        text written by the model, by step
#pragma once

#include <filesystem>
#include <string>

#include "train/run_config.h"

namespace moe {

class RunFolder {
 public:
  // A new folder <output_dir>/<run_name>, with config.yaml in it. With an empty run_name the name is `stem` and the
  // time. Throws UserError when there is a folder of that name with anything in it.
  static RunFolder create(const RunConfig& config, const std::string& stem);
  // An existing run, named as a shell completes it: the folder, or a file or folder of the run in it. It may also be
  // an output_dir that holds runs: then the latest. Throws UserError when it is neither.
  static RunFolder open(const std::filesystem::path& given);

  // Writes config.yaml anew: a resumed run keeps the settings it was given on the way.
  void record(const RunConfig& config) const;

  // Lets <output_dir>/latest point here: for a run that has started. Only a convenience, so it cannot fail: not on a
  // file system without links, nor when two runs start at once.
  void become_latest() const;

  // Removes a folder that create() has just made.
  void discard() const;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config() const { return path_ / "config.yaml"; }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path samples() const { return path_ / "samples"; }

 private:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

}  // namespace moe
