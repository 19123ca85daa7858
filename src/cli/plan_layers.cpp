// SPDX-License-Identifier: MIT
#include "cli/plan_layers.h"

#include <fmt/format.h>

#include "base/secrets.h"
#include "train/layer.h"
#include "train/run_config.h"

namespace moe::cli {
namespace {

// "max_tokens=1000" where a setting takes another one's place, and that one counted before. nothing: no line,
// since the other one's has it.
struct Replaced {
  std::string was = {};
  bool nothing = false;
};

// name: of the section training.
Replaced replaced(const std::string& name, const train::TrainingConfig& before,
                  const train::TrainingConfig& after) {
  for (const train::TwoForOne& pair : train::kTwoForOne) {
    const int64_t was = before.*pair.second_place, is = after.*pair.second_place;
    if (was > 0 && is == 0 && name == pair.first) return {.was = fmt::format("{}={}", pair.second, was)};
    if (was > 0 && is == 0 && name == pair.second) return {.nothing = true};
    if (was == 0 && is > 0 && name == pair.second)
      return {.was = fmt::format("{}={}", pair.first, before.*pair.first_place)};
  }
  return {};
}

// "training.batch_size=4 (was auto)", one a line.
std::string changes(train::RunConfig before, train::RunConfig after) {
  std::string text;
  const std::vector<Section> olds = before.sections(), news = after.sections();
  for (size_t s = 0; s < news.size(); ++s) {
    const bool training = news[s].name == "training";
    auto old = olds[s].fields.begin();
    for (const Field& field : news[s].fields) {
      const Replaced other = training ? replaced(field.name(), before.training, after.training) : Replaced{};
      if (!other.nothing && (!other.was.empty() || field.value() != old->value()))
        text += fmt::format("    {}.{}={} (was {})\n", news[s].name, field.name(), to_yaml(field.value()),
                            other.was.empty() ? to_yaml(old->value()) : other.was);
      ++old;
    }
  }
  return without_secrets(text);
}

}  // namespace

std::string layers_words(const std::vector<ConfigText>& files, const std::vector<std::string>& overrides) {
  if (files.size() + (overrides.empty() ? 0 : 1) < 2) return "";
  train::RunConfig config;
  auto sections = config.sections();
  std::string text;
  const auto lay = [&](const std::string& name, const auto& read) {
    const train::RunConfig before = config;
    const train::Layer layer(config.training);
    read();
    layer.settle();
    text += "  " + name + "\n" + changes(before, config);
  };
  for (const ConfigText& file : files) {
    if (text.empty()) {
      read_config_text(file.text, file.name, sections);
      text = fmt::format("settings       {}, and over it\n", file.name);
    } else {
      lay(file.name, [&] { read_config_text(file.text, file.name, sections); });
    }
  }
  if (!overrides.empty())
    lay("command line", [&] {
      for (const std::string& assignment : overrides) apply_override(assignment, sections);
    });
  return text;
}

}  // namespace moe::cli
