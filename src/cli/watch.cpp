// SPDX-License-Identifier: MIT
// moe watch: a run while it goes on, in the terminal and in a browser on this machine.
#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/terminal.h"
#include "cli/commands.h"
#include "cli/run_views.h"
#include "cli/stop_signal.h"
#include "metrics/console.h"
#include "report/page.h"
#include "report/server.h"

namespace moe::cli {
namespace {

struct WatchOptions {
  std::string run;
  int port = 8080;
  int64_t log_every = 10;
  bool once = false;
};

int watch(const WatchOptions& options) {
  Terminal terminal;
  WatchedRun run(options.run);
  std::mutex mutex;  // of run
  metrics::Console console(terminal, run.max_steps(), options.log_every, 0);
  bool behind = true;  // what was written before we came is not for the terminal
  const auto show = [&](const metrics::Row& row) {
    if (!behind) console.write(row);
  };
  run.read(show);
  behind = false;
  const StopSignal stop;
  const report::Server server(options.port, report::live_page(), [&] {
    const std::lock_guard lock(mutex);
    return report::data_json({run.view()});
  });
  terminal.line(fmt::format("run       {}, {} steps so far\nbrowser   {}   (Ctrl-C ends this, not the run)",
                            run.folder(), run.view().last_step(), server.url()));
  while (stop.number() == 0 && !options.once) {
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    const std::lock_guard lock(mutex);
    run.read(show);
  }
  return 0;
}

}  // namespace

void add_watch(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<WatchOptions>();
  CLI::App* command = app.add_subcommand("watch", "A run while it goes on, in the terminal and in a browser");
  command->add_option("run", options->run, "Folder of a run, or of runs: then the latest")
      ->required()
      ->type_name("RUN");
  command->add_option("--port", options->port, "Of the page; 0: any free one")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  command
      ->add_option("--log-every", options->log_every, "Steps between lines, where the terminal is a log file")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--once", options->once, "Start, say where the page is, and end: for tests");
  command->footer(
      "Examples:\n"
      "  moe watch runs/latest\n"
      "  ssh -L 8080:127.0.0.1:8080 machine moe watch runs/latest      then open http://localhost:8080 here\n"
      "The page can be reached from this machine only. It reads metrics.jsonl and never touches the run.");
  command->callback([options, &chosen] { chosen = [options] { return watch(*options); }; });
}

}  // namespace moe::cli
