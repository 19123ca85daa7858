// SPDX-License-Identifier: MIT
// Any bytes as a config file: a UserError or settings that print and read back to themselves.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/secrets.h"
#include "train/run_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moe;
  train::RunConfig config;
  auto sections = config.sections();
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    read_config_text(text, "fuzz", sections);
  } catch (const UserError&) {
    return 0;
  }
  for (const std::string& printed : {config.yaml(), config.json()}) {
    if (printed != config.yaml() && has_secrets(config.yaml())) continue;  // json() leaves them out
    train::RunConfig back;
    auto back_sections = back.sections();
    read_config_text(printed, "printed", back_sections);
    CHECK(config_differences(sections, back_sections).empty(), printed);
  }
  try {
    config.validate();
    apply_override(text, sections);
  } catch (const UserError&) {
  }
  return 0;
}
