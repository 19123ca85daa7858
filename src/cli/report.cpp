// SPDX-License-Identifier: MIT
// moe report: the metrics of runs as one HTML file, or as a picture.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/format.h"
#include "base/terminal.h"
#include "cli/commands.h"
#include "cli/run_views.h"
#include "report/page.h"
#include "report/picture.h"

namespace moe::cli {
namespace {

struct ReportOptions {
  std::vector<std::string> runs;
  std::string output, png;
  bool dark = false;
  double smooth = 0;
};

int report_runs(const ReportOptions& options) {
  Terminal terminal;
  std::vector<report::RunView> views;
  std::string first;
  for (const std::string& path : options.runs) {
    WatchedRun run(path);
    terminal.status("reading " + run.folder());
    run.read();
    if (first.empty()) first = run.folder();
    if (run.unreadable() > 0)
      terminal.warning(fmt::format("{}/metrics.jsonl: {} lines are no rows and are left out", run.folder(),
                                   run.unreadable()));
    views.push_back(run.view());
  }
  terminal.clear_status();
  if (!options.png.empty()) {
    report::write_picture(options.png, views, options.dark, options.smooth);
    terminal.line("picture  " + options.png);
    if (options.output.empty()) return 0;
  }
  const std::string output =
      options.output.empty() ? (std::filesystem::path(first) / "report.html").string() : options.output;
  const std::string page = report::page(views, options.smooth);
  write_file_atomically(output, page);
  terminal.line(fmt::format("report   {} ({}): open it in a browser", output,
                            format_bytes(static_cast<double>(page.size()))));
  return 0;
}

}  // namespace

void add_report(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<ReportOptions>();
  CLI::App* command = app.add_subcommand("report", "Curves of runs as one HTML file, or as a picture");
  command->add_option("runs", options->runs, "Folders of runs; several are drawn together")
      ->required()
      ->type_name("RUN");
  command
      ->add_option("-o,--output", options->output, "The file; default: report.html in the first run's folder")
      ->type_name("FILE");
  command->add_option("--png", options->png, "A picture, in place of the page unless --output names that too")
      ->type_name("FILE");
  command->add_flag("--dark", options->dark, "The picture on a dark ground");
  command
      ->add_option("--smooth", options->smooth,
                   "Of curves: how much each point keeps of those before (0 to 0.98)")
      ->check(CLI::Range(0.0, 0.98))
      ->type_name("SHARE");
  command->footer(
      "Examples:\n"
      "  moe report runs/latest\n"
      "  moe report runs/baseline runs/wider --output compare.html\n"
      "  moe report runs/latest --png loss.png --smooth 0.9\n"
      "The file needs neither a network nor a server. Long runs are shown with at most 1,200 points a curve; "
      "each point\n"
      "keeps the smallest and the largest of its values. `moe watch` shows a run while it goes on.");
  command->callback([options, &chosen] { chosen = [options] { return report_runs(*options); }; });
}

}  // namespace moe::cli
