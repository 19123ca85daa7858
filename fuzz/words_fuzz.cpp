// SPDX-License-Identifier: MIT
// Small texts of words that other programs write: a netrc file, the variables of launchers (a line NAME=VALUE
// each), and the file where ranks meet.
// A UserError, or what is in range.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/lines.h"
#include "comm/launch.h"
#include "comm/rendezvous.h"
#include "wandb/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto password = moe::wandb::netrc_password(text, "api.wandb.ai"))
    CHECK(text.find(*password) != std::string_view::npos);
  if (const auto place = moe::comm::StorePlace::read(text))
    CHECK(moe::comm::StorePlace::read(place->line()).has_value());
  std::map<std::string, std::string, std::less<>> variables;
  while (!text.empty()) {
    const std::string_view line = moe::take_line(text);
    const size_t equals = line.find('=');
    if (equals != std::string_view::npos) variables.emplace(line.substr(0, equals), line.substr(equals + 1));
  }
  const auto environment = [&](const char* name) {
    const auto found = variables.find(std::string_view(name));
    return found == variables.end() ? nullptr : found->second.c_str();
  };
  const char* place = environment("RENDEZVOUS");
  try {
    const moe::comm::Launch launch =
        moe::comm::find_launch({.rendezvous = place == nullptr ? "" : place}, environment);
    CHECK(launch.size >= 1 && launch.rank >= 0 && launch.rank < launch.size);
    CHECK(launch.local_size >= 1 && launch.local_rank >= 0 && launch.local_rank < launch.local_size);
    CHECK(launch.port >= 0 && launch.port < 65536);
  } catch (const moe::UserError&) {
  }
  return 0;
}
