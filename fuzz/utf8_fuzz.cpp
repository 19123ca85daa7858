// SPDX-License-Identifier: MIT
// Any bytes as text: repair makes it well-formed (as nlohmann's writer sees it), changes nothing that was,
// and an excerpt for a message is short, well-formed and free of control characters.
#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/utf8.h"

namespace {

bool well_formed(const std::string& text) {
  try {
    return !nlohmann::json(text).dump().empty();
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  std::string repaired;
  const uint64_t replaced = moe::repair_utf8(text, repaired);
  CHECK(well_formed(repaired));
  CHECK((replaced == 0) == well_formed(text));
  CHECK((replaced == 0) == (moe::well_formed_prefix(text) == text.size()));
  if (replaced == 0) CHECK(repaired == text);
  std::string copy;
  for (size_t at = 0; at < repaired.size();) {
    const moe::CodePoint point = moe::decode_utf8(repaired.data() + at);
    moe::append_utf8(copy, point.value);
    at += static_cast<size_t>(point.length);
  }
  CHECK(copy == repaired);
  const std::string shown = moe::excerpt(text);
  CHECK(shown.size() <= 4 * 120 + 3 && well_formed(shown));
  CHECK(std::none_of(shown.begin(), shown.end(), [](char c) { return (c >= 0 && c < 0x20) || c == 0x7F; }));
  return 0;
}
