// SPDX-License-Identifier: MIT
#include "cli/run_views.h"

#include "base/error.h"
#include "train/run_folder.h"

namespace moe::cli {

WatchedRun::WatchedRun(const std::string& path) : view_("", "") {
  const train::RunFolder folder = train::RunFolder::open(path);
  folder_ = folder.path().string();
  std::string json;
  try {
    const train::RunConfig config = train::RunConfig::load_run(folder.config());
    json = config.json();
    max_steps_ = config.training.max_steps;
  } catch (const UserError&) {  // settings of another version: the curves are worth showing without them
  }
  std::filesystem::path name = folder.path().filename();
  if (name.empty()) name = folder.path().parent_path().filename();
  view_ = report::RunView(name.string(), json);
  file_ = std::make_unique<report::RowFile>(folder.metrics());
}

void WatchedRun::read(const std::function<void(const metrics::Row&)>& each) {
  file_->read([this] { view_.clear(); },
              [&](const metrics::Row& row) {
                view_.add(row);
                if (each) each(row);
              });
}

}  // namespace moe::cli
