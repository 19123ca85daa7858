// SPDX-License-Identifier: MIT
#include "wandb/run.h"

#include <fmt/format.h>

#include <atomic>
#include <optional>
#include <utility>

#include "metrics/background.h"
#include "wandb/uploader.h"

namespace moe::wandb {
namespace {

class OpenRun final : public metrics::Sink {
 public:
  OpenRun(const Settings& settings, std::unique_ptr<RecordSink> records, Terminal& terminal)
      : settings_(settings),
        terminal_(terminal),
        files_(records->files()),
        records_(std::move(records), terminal, metrics::Background::kMost, "wandb") {
    if (settings_.mode == Mode::online)
      uploader_.emplace(settings_, files_.records(), files_.existed, terminal_);
  }
  // Without finish() the run ends with an error.
  ~OpenRun() override {
    if (!finished_) finish(1);
  }
  OpenRun(const OpenRun&) = delete;
  OpenRun& operator=(const OpenRun&) = delete;

  void write(const metrics::Row& row) override { records_.write(row); }
  void told(const std::string& text) override {
    if (!finished_) records_.told(text);
  }
  void finish(int exit_code) override {
    finished_ = true;
    records_.finish(exit_code);
    if (uploader_) {
      uploader_->finish();
    } else if (!settings_.silent) {
      terminal_.line("wandb     to upload this run: wandb sync " + files_.folder.string());
    }
  }

 private:
  const Settings settings_;
  Terminal& terminal_;
  const RunFiles files_;
  metrics::Background records_;
  std::optional<Uploader> uploader_;
  std::atomic<bool> finished_{false};
};

}  // namespace

std::unique_ptr<metrics::Sink> open_run(const Settings& settings, const std::filesystem::path& state,
                                        bool resumed, const RunInfo& info, Terminal& terminal) {
  if (settings.mode == Mode::disabled) return nullptr;
  RunFiles files = RunFiles::open(settings, state, resumed, unix_seconds());
  if (!settings.silent)
    terminal.line(fmt::format("wandb     {}{}{}", files.folder.string(),
                              settings.why.empty() ? "" : ", offline: ", settings.why));
  auto records = std::make_unique<RecordSink>(settings, std::move(files), info, terminal);
  return std::make_unique<OpenRun>(settings, std::move(records), terminal);
}

}  // namespace moe::wandb
