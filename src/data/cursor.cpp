// SPDX-License-Identifier: MIT
#include "data/cursor.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"

namespace moe {
namespace {

// The one list of fields. Old: in the format of version 0.1, which has no rows.
struct Member {
  const char* name;
  int64_t StreamCursor::*place;
  bool old;
};
constexpr std::array<Member, 7> kFields{{{"epoch", &StreamCursor::epoch, true},
                                         {"window", &StreamCursor::window, true},
                                         {"document", &StreamCursor::document, true},
                                         {"token", &StreamCursor::token, true},
                                         {"rows", &StreamCursor::rows, false},
                                         {"documents", &StreamCursor::documents, true},
                                         {"tokens", &StreamCursor::tokens, true}}};

StreamCursor read_stream(const nlohmann::json& json, bool old) {
  StreamCursor cursor;
  for (const Member& member : kFields) {
    if (old && !member.old) continue;
    const auto field = json.is_object() ? json.find(member.name) : json.end();
    const bool good =
        json.is_object() && field != json.end() && field->is_number_integer() && field->get<int64_t>() >= 0;
    if (!good)
      throw UserError("data cursor", fmt::format("a whole number in field \"{}\"", member.name), json.dump());
    cursor.*member.place = field->get<int64_t>();
  }
  return cursor;
}

int64_t sum(const std::vector<StreamCursor>& streams, int64_t StreamCursor::*place) {
  int64_t total = 0;
  for (const StreamCursor& stream : streams) total += stream.*place;
  return total;
}

}  // namespace

int64_t Cursor::tokens() const {
  return sum(streams, &StreamCursor::tokens);
}

int64_t Cursor::documents() const {
  return sum(streams, &StreamCursor::documents);
}

int64_t Cursor::epoch() const {
  int64_t least = streams.empty() ? 0 : streams.front().epoch;
  for (const StreamCursor& stream : streams) least = std::min(least, stream.epoch);
  return least;
}

Cursor merge(std::span<const Cursor> of_ranks) {
  CHECK(!of_ranks.empty());
  Cursor merged = of_ranks.front();
  for (const Cursor& cursor : of_ranks) {
    CHECK(cursor.streams.size() == merged.streams.size());
    for (size_t s = 0; s < merged.streams.size(); ++s)
      if (cursor.streams[s].rows > merged.streams[s].rows) merged.streams[s] = cursor.streams[s];
  }
  return merged;
}

void to_json(nlohmann::json& json, const Cursor& cursor) {
  auto streams = nlohmann::json::array();
  for (const StreamCursor& stream : cursor.streams) {
    auto& object = streams.emplace_back(nlohmann::json::object());
    for (const Member& member : kFields) object[member.name] = stream.*member.place;
  }
  json = {{"streams", std::move(streams)}};
}

void from_json(const nlohmann::json& json, Cursor& cursor) {
  cursor = {};
  if (!json.is_object() || !json.contains("streams")) {
    cursor.streams.push_back(read_stream(json, true));
    return;
  }
  if (!json["streams"].is_array()) throw UserError("data cursor", "a list of streams", json.dump());
  for (const auto& stream : json["streams"]) cursor.streams.push_back(read_stream(stream, false));
}

}  // namespace moe
