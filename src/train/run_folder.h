// SPDX-License-Identifier: MIT
// Where a run lives on disk:
//   config.yaml     the resolved settings          metrics.jsonl   one row a step: the record
//   checkpoints/    see checkpoint/checkpoint.h    samples/        text written by the model, by step
//   run.lock        who trains it now              see train/run_lock.h
//   status.json     what became of it              see train/run_status.h
//   tokenizer/      its tokenizer's own files, unless that is GPT-2's: see text/kept_tokenizer.h
//   chat/           the template of its conversations, where it learns from any: see text/chat.h
// Everybody may read. Only who owns the folder writes.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "base/terminal.h"
#include "train/run_config.h"
#include "train/run_lock.h"

namespace moe::train {

// Copies are of one folder, and own it together.
class RunFolder {
 public:
  // A new folder <output_dir>/<run_name>, with config.yaml in it; this process owns it. With an empty
  // run_name the name is `stem`, the time, and a number where several start in one second. Throws UserError
  // when there is a folder of that name with anything in it.
  static RunFolder create(const RunConfig& config, const std::string& stem);
  // An existing run, to read, named as a shell completes it: the folder, or a file or folder of the run in
  // it. It may also be an output_dir that holds runs: then the latest. Throws UserError when it is neither.
  static RunFolder open(const std::filesystem::path& given);

  // From here on this process owns the folder, as long as a copy of this object lives. Nothing when it does
  // already. Throws UserError when another process does. May wait (train/run_lock.h).
  void own(Terminal& terminal);
  // Another machine has taken the folder meanwhile. Then nothing may be written.
  bool is_lost() const { return lock_ && lock_->lost(); }

  // Of an owner, before it writes: where the folder is by now. A renamed one is followed. In place of one
  // that is gone another is made, with these settings in it. In words what happened; "" when all is as it
  // was.
  std::string find_again(const RunConfig& config);

  // Writes config.yaml anew: a resumed run keeps the settings it was given on the way.
  void record(const RunConfig& config) const;
  // The same for a folder that is still being made, and its tokenizer before it: settings make it a run. A
  // file with secrets is for its owner only.
  static void fill_settings(const std::filesystem::path& folder, const RunConfig& config);
  // Of a resumed run whose copy of the tokenizer was removed: the original is the same, so it is kept again.
  void keep_tokenizer(const RunConfig& config) const;

  // Lets <output_dir>/latest point here: for a run that has trained. Only a convenience, so it cannot fail:
  // not on a file system without links, nor when two runs start at once.
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
  void make_anew(const RunConfig& config);
  static void write_settings(const std::filesystem::path& file, const RunConfig& config);
  void fill(const RunConfig& config) const;

  std::filesystem::path path_;
  std::shared_ptr<RunLock> lock_;  // null for a reader
};

}  // namespace moe::train
