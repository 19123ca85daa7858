// SPDX-License-Identifier: MIT
#include "cli/run_views.h"

#include <fmt/format.h>

#include <system_error>
#include <utility>

#include "base/error.h"
#include "train/run_folder.h"
#include "train/run_status.h"

namespace moe::cli {
namespace {

report::Status in_words(const train::RunStatus& status, int64_t steps, int64_t max_steps) {
  using Kind = train::RunStatus::Kind;
  const std::string resumed =
      status.first_step > 1 ? fmt::format(", resumed at step {}", status.first_step) : "";
  const std::string at = fmt::format("at step {}", steps);
  std::string text;
  switch (status.kind) {
    case Kind::unknown:
      text = max_steps > 0 && steps >= max_steps ? "complete" : "";
      break;
    case Kind::starting:
      text = steps > 0 ? fmt::format("being resumed; {} steps so far", steps) : "waiting for the first step";
      break;
    case Kind::running:
      text = steps > 0 ? "running" + resumed : "waiting for the first step";
      break;
    case Kind::ended:
      text = max_steps > 0 && steps < max_steps ? "its time was up " + at : "complete";
      break;
    case Kind::stopped:
      text = fmt::format("stopped by {} {}; `moe train --resume` goes on", status.why, at);
      break;
    case Kind::failed:
      text = fmt::format("failed {}{}{}", at, status.why.empty() ? "" : ": ", status.why);
      break;
    case Kind::died:
      text = fmt::format("broke off {}: its process is gone; `moe train --resume` goes on", at);
      break;
  }
  return {.state = std::string(name_of(status.kind)), .text = text};
}

}  // namespace

WatchedRun::WatchedRun(const std::string& path) : view_("", "") {
  const train::RunFolder folder = train::RunFolder::open(path);
  folder_ = folder.path().string();
  config_ = folder.config();
  std::filesystem::path name = folder.path().filename();
  if (name.empty()) name = folder.path().parent_path().filename();
  view_ = report::RunView(name.string(), "");
  file_ = std::make_unique<report::RowFile>(folder.metrics());
  read_settings();
}

// A run that is resumed may get others.
void WatchedRun::read_settings() {
  std::error_code error;
  const auto written = std::filesystem::last_write_time(config_, error);
  if (error || std::exchange(config_written_, written) == written) return;
  try {
    const train::RunConfig config = train::RunConfig::load_run(config_);
    view_.set_config(config.json());
    max_steps_ = config.training.max_steps;
  } catch (const UserError&) {  // settings of another version: the curves are worth showing without them
  }
}

void WatchedRun::read(const std::function<void(const metrics::Row&)>& each) {
  read_settings();
  file_->read([this] { view_.clear(); },
              [&](const metrics::Row& row) {
                view_.add(row);
                if (each) each(row);
              });
  view_.set_status(in_words(train::read_run_status(folder_), view_.last_step(), max_steps_));
}

}  // namespace moe::cli
