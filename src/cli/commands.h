// SPDX-License-Identifier: MIT
// The commands of the program. Each adds its options to the parser and says what to run when it is chosen;
// the function returns the exit code. Parsing, building and running only: the work is in the folders below.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace moe::cli {

using Command = std::function<int()>;

void add_train(CLI::App& app, Command& chosen);
void add_generate(CLI::App& app, Command& chosen);
void add_chat(CLI::App& app, Command& chosen);
void add_eval(CLI::App& app, Command& chosen);
void add_export(CLI::App& app, Command& chosen);
void add_import(CLI::App& app, Command& chosen);
void add_merge(CLI::App& app, Command& chosen);
void add_upcycle(CLI::App& app, Command& chosen);
void add_finetune(CLI::App& app, Command& chosen);
void add_compare(CLI::App& app, Command& chosen);
void add_data(CLI::App& app, Command& chosen);
void add_tokenize(CLI::App& app, Command& chosen);
void add_tokenizer(CLI::App& app, Command& chosen);
void add_plan(CLI::App& app, Command& chosen);
void add_presets(CLI::App& app, Command& chosen);
void add_doctor(CLI::App& app, Command& chosen);
void add_report(CLI::App& app, Command& chosen);
void add_watch(CLI::App& app, Command& chosen);
void add_bench(CLI::App& app, Command& chosen);

}  // namespace moe::cli
