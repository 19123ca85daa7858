// SPDX-License-Identifier: MIT
#include "train/observers.h"

#include <utility>

#include "metrics/alerts.h"
#include "metrics/background.h"
#include "metrics/console.h"
#include "metrics/jsonl.h"
#include "metrics/shown.h"
#include "metrics/tensorboard.h"
#include "train/run_status.h"
#include "wandb/run.h"

namespace moe::train {
namespace {

// Hands the terminal's lines on. A line of another thread may still be on its way when this object goes: it
// then holds the sink.
class TerminalTap final : public metrics::Sink {
 public:
  TerminalTap(std::shared_ptr<metrics::Sink> sink, Terminal& terminal)
      : sink_(std::move(sink)), terminal_(terminal) {
    terminal_.listen([sink = sink_](const std::string& text) { sink->told(text); });
  }
  ~TerminalTap() override { terminal_.listen({}); }
  TerminalTap(const TerminalTap&) = delete;
  TerminalTap& operator=(const TerminalTap&) = delete;

  void write(const metrics::Row& row) override { sink_->write(row); }
  void finish(int exit_code) override { sink_->finish(exit_code); }

 private:
  std::shared_ptr<metrics::Sink> sink_;
  Terminal& terminal_;
};

}  // namespace

std::unique_ptr<metrics::Sink> make_observers(const RunConfig& config, const RunFolder& folder, bool resumed,
                                              int64_t first_step, Terminal& terminal) {
  auto sinks = std::make_unique<metrics::FanOut>();
  sinks->add(std::make_unique<metrics::Jsonl>(folder.metrics(), first_step, terminal));
  sinks->add(std::make_unique<StatusFile>(folder, first_step));
  sinks->add(std::make_unique<metrics::Console>(terminal, config.training.max_steps, config.logging.log_every,
                                                config.logging.log_seconds));
  wandb::Settings settings =
      wandb::resolve(config.logging.wandb, folder.path(), folder.path().filename().string());
  settings.folder = std::filesystem::absolute(settings.folder);  // wandb.json keeps it
  const auto shown = [&](std::unique_ptr<metrics::Sink> sink) {
    return std::make_unique<metrics::ShownNames>(std::move(sink), config.model.first_dense_layers);
  };
  const wandb::RunInfo info{.config_json = config.json(), .arguments = {}};
  if (config.logging.tensorboard)
    sinks->add(shown(std::make_unique<metrics::Background>(
        std::make_unique<metrics::TensorBoard>(folder.path() / "tensorboard", resumed ? first_step : 0,
                                               config.json(), terminal, wandb::unix_seconds),
        terminal, metrics::Background::kMost, "tensorboard")));
  if (auto run = wandb::open_run(settings, folder.path() / "wandb.json", resumed, info, terminal))
    sinks->add(std::make_unique<TerminalTap>(shown(std::move(run)), terminal));
  sinks->add(
      std::make_unique<metrics::Alerts>(config.logging.alerts, *sinks, config.model.first_dense_layers));
  return sinks;
}

}  // namespace moe::train
