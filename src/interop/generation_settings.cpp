// SPDX-License-Identifier: MIT
#include "interop/generation_settings.h"

#include <algorithm>

#include "base/json.h"

namespace moe::interop {
namespace {

constexpr const char* kEnds = "eos_token_id";
constexpr int64_t kMostIds = int64_t{1} << 31;

std::vector<int64_t> read_ends(const JsonFields& fields) {
  if (!fields.has(kEnds)) return {};
  if (!fields.at(kEnds).is_array()) return {fields.whole(kEnds, 0, kMostIds)};
  std::vector<int64_t> ends;
  for (const Json& id : fields.list(kEnds)) {
    if (!id.is_number_integer() || id < 0 || id >= kMostIds)
      fields.refuse(kEnds, "ids of tokens", quote(fields.at(kEnds)));
    ends.push_back(id.get<int64_t>());
  }
  return ends;
}

}  // namespace

GenerationSettings read_generation_settings(const std::string& where, std::string_view text) {
  const Json json = parse_json(where, text);
  const JsonFields fields(where, json);
  GenerationSettings settings{.ends = read_ends(fields),
                              .sample = fields.has("do_sample") && fields.flag("do_sample"),
                              .temperature = {},
                              .top_p = {},
                              .min_p = {},
                              .repetition_penalty = {},
                              .top_k = {}};
  const auto number = [&](const char* name, std::optional<double>& into) {
    if (fields.has(name)) into = fields.number(name);
  };
  number("temperature", settings.temperature);
  number("top_p", settings.top_p);
  number("min_p", settings.min_p);
  number("repetition_penalty", settings.repetition_penalty);
  if (fields.has("top_k")) settings.top_k = fields.whole("top_k");
  return settings;
}

std::string with_ends(const std::string& where, const std::string& text, const std::vector<int64_t>& ends) {
  const std::vector<int64_t> theirs = read_generation_settings(where, text).ends;
  const auto there = [&](int64_t id) { return std::ranges::find(theirs, id) != theirs.end(); };
  if (std::ranges::all_of(ends, there)) return text;
  std::vector<int64_t> all = ends;
  std::ranges::copy_if(theirs, std::back_inserter(all),
                       [&](int64_t id) { return std::ranges::find(ends, id) == ends.end(); });
  OrderedJson json = parse_ordered_json(where, text);
  json[kEnds] = all;
  return json.dump(2) + "\n";
}

}  // namespace moe::interop
