// SPDX-License-Identifier: MIT
// The record of a run: one JSON object a line, {"step": ..., name: value, ...}, in the order of the row.
// Every other view can be rebuilt from it. JSON has no NaN or infinity: they are the strings "NaN",
// "Infinity", "-Infinity".
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/backlog.h"
#include "base/terminal.h"
#include "metrics/sink.h"

namespace moe::metrics {

std::string to_json(const Row& row);  // one line, without the newline

class Jsonl final : public Sink {
 public:
  // Appends to the file, which need not exist. first_step is the first step that this run will write: lines
  // of it and of later steps, and a torn last line, come from an interrupted run and are removed first, so
  // that each step is there once. Lines that are no rows are set aside, in <path>.set-aside, with a warning.
  // Earlier steps without a row are counted in another. UserError when the file cannot be opened.
  Jsonl(std::filesystem::path path, int64_t first_step, Terminal& terminal);
  ~Jsonl() override;
  Jsonl(const Jsonl&) = delete;
  Jsonl& operator=(const Jsonl&) = delete;

  // The line is with the operating system on return. While the disk is full, rows wait in memory
  // (base/backlog.h).
  void write(const Row& row) override;
  // Goes on there. A record that was deleted is made again, with all its rows.
  void moved(const std::filesystem::path& folder) override;
  void settle() override;
  void finish(int exit_code) override;

 private:
  std::filesystem::path path_;
  Terminal& terminal_;
  int descriptor_ = -1;
  int64_t size_ = 0;  // of the whole lines
  Backlog rows_;
};

}  // namespace moe::metrics
