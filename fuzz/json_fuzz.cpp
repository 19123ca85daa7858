// SPDX-License-Identifier: MIT
// Any bytes as JSON: nothing, or the value that nlohmann's own parser finds; the same by both of our
// builders.
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto json = moe::try_parse_json(text);
  const auto ordered = moe::try_parse_ordered_json(text);
  CHECK(json.has_value() == ordered.has_value());
  try {
    const moe::Json again = moe::parse_json("fuzz", text);
    CHECK(json && *json == again);
  } catch (const moe::UserError& error) {
    CHECK(!json && std::string_view(error.what()).size() < 2000);
  }
  if (!json) return 0;
  CHECK(moe::quote(*json).size() <= 123);
  CHECK(json->dump() == nlohmann::json(nlohmann::json::parse(ordered->dump())).dump());
  if (size < 4096) CHECK(*json == nlohmann::json::parse(text));  // it is slow where names are many
  return 0;
}
