// SPDX-License-Identifier: MIT
// Any bytes as JSON lines and as plain text, in one range and in several: a UserError or the same documents.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/input.h"
#include "data/json_array.h"
#include "data/jsonl.h"
#include "data/text.h"

namespace {

using Read = void (*)(const moe::Input&, int64_t, int64_t, moe::data::Documents&);

std::optional<std::vector<std::string>> documents(const moe::Input& input, int64_t step, Read read) {
  moe::data::Documents all;
  try {
    for (int64_t begin = 0; begin < input.size(); begin += step)
      read(input, begin, std::min(begin + step, input.size()), all);
  } catch (const moe::UserError&) {
    return std::nullopt;
  }
  std::vector<std::string> result;
  for (int64_t i = 0; i < all.size(); ++i) result.emplace_back(all.text(i));
  return result;
}

void compare(const moe::Input& input, Read read) {
  const auto whole = documents(input, input.size(), read);
  if (documents(input, input.size() / 2 + 1, read) != whole) std::abort();
  if (input.size() > 4096) return;  // each of the many ranges looks for the next document's begin
  for (const int64_t step : {1, 7})
    if (documents(input, step, read) != whole) std::abort();
}

// As one JSON list, in one piece and in two: the same lines.
std::optional<std::string> lines_of_list(std::string_view bytes, size_t first) {
  std::string lines;
  try {
    moe::data::JsonListToLines list("fuzz", [&](std::string_view piece) { lines += piece; });
    list.write(bytes.substr(0, first));
    list.write(bytes.substr(first));
    list.finish();
  } catch (const moe::UserError&) {
    return std::nullopt;
  }
  return lines;
}

template <moe::data::DocumentSplit split>
void read_split(const moe::Input& input, int64_t begin, int64_t end, moe::data::Documents& all) {
  moe::data::read_text(input, begin, end, split, all);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const moe::MemoryInput input("fuzz", std::string_view(reinterpret_cast<const char*>(data), size));
  compare(input, [](const moe::Input& in, int64_t begin, int64_t end, moe::data::Documents& all) {
    moe::data::read_jsonl(in, begin, end, "text", {}, all);
  });
  compare(input, [](const moe::Input& in, int64_t begin, int64_t end, moe::data::Documents& all) {
    moe::data::read_jsonl(in, begin, end, "text", moe::data::parse_filters({"n >= 3"}), all);
  });
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (lines_of_list(bytes, size) != lines_of_list(bytes, size / 2)) std::abort();
  compare(input, [](const moe::Input& in, int64_t begin, int64_t end, moe::data::Documents& all) {
    moe::data::read_text(in, begin, end, {moe::data::DocumentSplit::marker, "<|>"}, all);
  });
  compare(input, read_split<moe::data::DocumentSplit::line>);
  compare(input, read_split<moe::data::DocumentSplit::blank_line>);
  compare(input, read_split<moe::data::DocumentSplit::unindented>);
  return 0;
}
