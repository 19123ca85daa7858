// SPDX-License-Identifier: MIT
#include "cli/plan_layers.h"

#include <fmt/format.h>

#include "base/secrets.h"
#include "train/run_config.h"

namespace moe::cli {
namespace {

// "training.batch_size=4 (was auto)", one a line.
std::string changes(const std::vector<Section>& before, const std::vector<Section>& after) {
  std::string text;
  for (size_t s = 0; s < after.size(); ++s) {
    auto old = before[s].fields.begin();
    for (const Field& field : after[s].fields) {
      if (field.value() != old->value())
        text += fmt::format("    {}.{}={} (was {})\n", after[s].name, field.name(), to_yaml(field.value()),
                            to_yaml(old->value()));
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
    train::RunConfig before = config;
    read();
    text += "  " + name + "\n" + changes(before.sections(), sections);
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
