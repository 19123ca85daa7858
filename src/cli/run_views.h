// SPDX-License-Identifier: MIT
// A run's folder as the report shows it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "report/rows.h"
#include "report/run_view.h"

namespace moe::cli {

// A run whose rows are read as they come.
class WatchedRun {
 public:
  // path: a run, or a folder of runs (then the latest). UserError when there is none.
  explicit WatchedRun(const std::string& path);
  // Takes the rows that came since; each: called with them too.
  void read(const std::function<void(const metrics::Row&)>& each = {});

  const report::RunView& view() const { return view_; }
  int64_t max_steps() const { return max_steps_; }  // 0: not known
  int64_t unreadable() const { return file_->unreadable(); }
  std::string folder() const { return folder_; }

 private:
  void read_settings();

  std::string folder_;
  std::filesystem::path config_;
  std::filesystem::file_time_type config_written_;
  int64_t max_steps_ = 0;
  report::RunView view_;
  std::unique_ptr<report::RowFile> file_;
};

}  // namespace moe::cli
