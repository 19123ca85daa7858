// SPDX-License-Identifier: MIT
#include "data/tokenize_state.h"

namespace moe::data {
namespace {

constexpr const char* kAgain = "remove this file and its shards to begin again";

Json to_json(const TokenizeState& state) {
  return {{"validation", state.validation},   {"done", state.done},
          {"cursor", Cursor{{state.cursor}}}, {"next_shard", state.next_shard},
          {"shards", state.counts.shards},    {"documents", state.counts.documents},
          {"tokens", state.counts.tokens},    {"bytes", state.counts.bytes}};
}

TokenizeState read_state(const JsonFields& json) {
  TokenizeState state;
  state.validation = json.flag("validation");
  state.done = json.flag("done");
  const auto cursor = json.at("cursor").get<Cursor>();
  if (cursor.streams.size() == 1) state.cursor = cursor.streams[0];
  state.counts.shards = json.whole("shards");
  state.next_shard = json.whole("next_shard", 1, state.counts.shards + 1);
  state.counts.documents = json.whole("documents");
  state.counts.tokens = json.whole("tokens");
  state.counts.bytes = json.whole("bytes");
  return state;
}

}  // namespace

std::string to_json(const TokenizeRecord& record) {
  Json json = to_json(record.now);
  json["settings"] = record.settings;
  json["begun"] = Json::array();
  for (const TokenizeState& begun : record.begun) json["begun"].push_back(to_json(begun));
  return json.dump() + "\n";
}

TokenizeRecord read_tokenize_record(const std::string& where, std::string_view text) {
  const Json json = parse_json(where, text, kAgain);
  const JsonFields fields(where, json, kAgain);
  TokenizeRecord record{fields.at("settings"), read_state(fields), {}};
  if (!fields.has("begun")) return record;
  for (const Json& begun : fields.list("begun"))
    record.begun.push_back(read_state(JsonFields(where + ": begun", begun, kAgain)));
  const int64_t most = record.now.counts.shards;
  if (std::ssize(record.begun) > most)
    fields.refuse("begun", "at most " + std::to_string(most) + " shards",
                  std::to_string(record.begun.size()));
  return record;
}

}  // namespace moe::data
