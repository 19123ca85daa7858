// SPDX-License-Identifier: MIT
// How a run talks: the template that it was taught with, or that its settings name; where an answer ends; and
// the way of sampling that came with an imported model.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "cli/model_files.h"
#include "interop/generation_settings.h"
#include "text/chat.h"

namespace moe::cli {

struct RunChat {
  std::shared_ptr<const text::Chat> chat;
  text::SpecialText special = text::SpecialText::anywhere;
  std::vector<text::TokenId> ends;         // beside those of the template
  interop::GenerationSettings generation;  // of the model that was imported
  bool taught = false;                     // else the template is that by default
};

// The template of a run that was taught to answer, or whose settings name one; null: neither.
std::shared_ptr<const text::Chat> taught_chat(const TrainedModel& model);
// That, or the one by default. Throws UserError where the model has too few rows for the template's tokens.
RunChat chat_of(const TrainedModel& model);

// How another run talks, from which this one was made: into its folder. Nothing where that one has no
// template of its own.
void keep_chat_of(const std::filesystem::path& run, const TrainedModel& from);

// --template-variable NAME=VALUE, which may be given again.
void add_template_variables(CLI::App& command, std::vector<std::string>& into);
// VALUE is JSON where it is such, else text.
OrderedJson parse_variables(const std::vector<std::string>& assignments);

}  // namespace moe::cli
