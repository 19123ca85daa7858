// SPDX-License-Identifier: MIT
#include "cli/run_chat.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <optional>

#include "base/error.h"
#include "interop/imported_model.h"

namespace moe::cli {

std::shared_ptr<const text::Chat> taught_chat(const TrainedModel& model) {
  const data::DataConfig& data = model.config.data;
  const bool taught = !data.kept_chat.empty() || data.chat_template != text::kAutomaticTemplate;
  return taught ? data.open_chat() : nullptr;
}

RunChat chat_of(const TrainedModel& model) {
  const train::RunConfig& config = model.config;
  const auto tokenizer = config.data.tokenizer.open();
  RunChat talk;
  talk.special = config.data.special_text;
  talk.chat = taught_chat(model);
  talk.taught = talk.chat != nullptr;
  if (!talk.taught) talk.chat = config.data.open_chat();
  if (talk.chat->vocabulary() > config.model.vocab_size)
    throw UserError("model.vocab_size",
                    fmt::format("{} rows, for the tokens of the chat template ({})", talk.chat->vocabulary(),
                                fmt::join(talk.chat->added(), ", ")),
                    fmt::format("{}", config.model.vocab_size), "data.chat_template names another template");
  const std::filesystem::path run = run_of(model.checkpoint);
  const auto imported = interop::read_imported(run);
  if (!imported || imported->tokenizer != text::fingerprint_text(tokenizer->fingerprint())) return talk;
  if (const std::string* file = imported->file("generation_config.json")) {
    talk.generation =
        interop::read_generation_settings((run / "imported/generation_config.json").string(), *file);
    for (const int64_t end : talk.generation.ends)
      if (end < config.model.vocab_size) talk.ends.push_back(static_cast<text::TokenId>(end));
  }
  return talk;
}

void keep_chat_of(const std::filesystem::path& run, const TrainedModel& from) {
  const data::DataConfig& data = from.config.data;
  if (!data.kept_chat.empty()) text::keep_chat(run / train::kChatFolder, *data.open_chat());
}

void add_template_variables(CLI::App& command, std::vector<std::string>& into) {
  command
      .add_option("--template-variable", into,
                  "A name that the chat template asks for, as enable_thinking=false; may be given again")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
}

OrderedJson parse_variables(const std::vector<std::string>& assignments) {
  OrderedJson variables = OrderedJson::object();
  for (const std::string& assignment : assignments) {
    const size_t sign = assignment.find('=');
    if (sign == std::string::npos || sign == 0)
      throw UserError("--template-variable", "NAME=VALUE", fmt::format("\"{}\"", assignment));
    const std::string value = assignment.substr(sign + 1);
    const auto json = try_parse_ordered_json(value);
    variables[assignment.substr(0, sign)] = json ? *json : OrderedJson(value);
  }
  return variables;
}

}  // namespace moe::cli
