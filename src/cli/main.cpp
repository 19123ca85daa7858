// SPDX-License-Identifier: MIT
// The program `moe`: the command table, and the only place that turns errors into words and exit codes.
// 0 done; 1 a mistake the user can mend; 2 a bug of ours; 128 + n ended by signal n, with all saved.
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/version.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/completion.h"
#include "cli/manual.h"
#include "cli/outline.h"
#include "cli/parse_errors.h"

namespace {

int run(int argc, char** argv) {
  CLI::App app("moe: trains Mixture-of-Experts Transformers", "moe");
  app.set_version_flag("--version", moe::program_version());
  app.require_subcommand(1);
  app.footer(
      "First steps:\n"
      "  moe doctor                                       what this machine offers, and what is missing\n"
      "  moe plan  --config moe_120m                      what a configuration costs, before it runs\n"
      "  moe train --quickstart                           a small model in minutes, on any machine\n"
      "  moe train --resume runs/latest                   go on where it stopped\n"
      "  moe generate runs/latest --prompt \"Lantern\"      what it has learnt\n"
      "`moe COMMAND --help` teaches each command.");
  moe::cli::Command chosen;
  moe::cli::add_train(app, chosen);
  moe::cli::add_generate(app, chosen);
  moe::cli::add_chat(app, chosen);
  moe::cli::add_eval(app, chosen);
  moe::cli::add_export(app, chosen);
  moe::cli::add_import(app, chosen);
  moe::cli::add_merge(app, chosen);
  moe::cli::add_upcycle(app, chosen);
  moe::cli::add_finetune(app, chosen);
  moe::cli::add_compare(app, chosen);
  moe::cli::add_data(app, chosen);
  moe::cli::add_tokenize(app, chosen);
  moe::cli::add_tokenizer(app, chosen);
  moe::cli::add_plan(app, chosen);
  moe::cli::add_presets(app, chosen);
  moe::cli::add_doctor(app, chosen);
  moe::cli::add_report(app, chosen);
  moe::cli::add_watch(app, chosen);
  moe::cli::add_bench(app, chosen);
  moe::cli::add_completion(app, chosen);
  moe::cli::add_man(app, chosen);
  int code = 0;
  std::vector<std::string> words(argv + 1, argv + argc);
  try {
    if (!words.empty() && words.front() == moe::cli::kCompleteCommand) {
      words.erase(words.begin());
      std::fputs(moe::cli::complete(moe::cli::outline_of(app), words).c_str(), stdout);
      return 0;
    }
    words = moe::cli::arrange(words, app);
    std::vector<std::string> reversed(words.rbegin(), words.rend());  // as CLI11 takes them
    app.parse(std::move(reversed));
    code = chosen();
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) throw moe::cli::in_words(error, app, words);
    app.exit(error);  // --help and --version
  }
  // A result that did not get out is no result.
  const bool failed_before = std::ferror(stdout) != 0;
  if (std::fflush(stdout) != 0 || failed_before)
    throw moe::UserError("standard output", "to be written whole",
                         failed_before ? "a write that failed" : std::strerror(errno), "is the disk full?");
  return code;
}

// Says what it was; the exit code.
int report(const std::exception_ptr& thrown) {
  try {
    if (thrown) std::rethrow_exception(thrown);
    std::fputs("internal error (please report it): terminated without an exception\n", stderr);
  } catch (const moe::UserError& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  } catch (const std::bad_alloc&) {
    std::fputs("error: out of memory. Hint: `moe plan` prints what a configuration needs\n", stderr);
    return 1;
  } catch (const std::system_error& error) {
    // Of a library's own thread; ours are started by start_thread().
    const bool limit = error.code() == std::errc::resource_unavailable_try_again;
    std::fprintf(stderr, "%s: %s%s\n", limit ? "error" : "internal error (please report it)", error.what(),
                 limit ? ". Hint: raise the limit on processes (ulimit -u) or on memory (ulimit -v)" : "");
    return limit ? 1 : 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "internal error (please report it): %s\n", error.what());
  } catch (...) {
    std::fputs("internal error (please report it): something else than an exception was thrown\n", stderr);
  }
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  // Nobody catches what a thread throws beside its work: it ends the program with words, too.
  std::set_terminate([] { std::_Exit(report(std::current_exception())); });
  try {
    return run(argc, argv);
  } catch (...) {
    return report(std::current_exception());
  }
}
