// SPDX-License-Identifier: MIT
#include "data/cursor.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "base/json.h"

namespace moe::data {
namespace {

constexpr const char* kCursor = "data cursor";

// No run comes so far. Below, no sum over streams and no turn of a mixture (data/interleave.h) overflows.
constexpr int64_t kMost = int64_t{1} << 60, kMostRows = int64_t{1} << 40, kMostStreams = int64_t{1} << 16;

// The one list of fields. since: the format that has it first: 0: with one stream; 1: with several; 2: where
// it is not 0.
struct Member {
  const char* name;
  int64_t StreamCursor::*place;
  int since;
  int64_t most = kMost;
};
constexpr std::array<Member, 8> kFields{{{"epoch", &StreamCursor::epoch, 0},
                                         {"window", &StreamCursor::window, 0},
                                         {"document", &StreamCursor::document, 0},
                                         {"token", &StreamCursor::token, 0},
                                         {"rows", &StreamCursor::rows, 1, kMostRows},
                                         {"whole", &StreamCursor::whole, 2},
                                         {"documents", &StreamCursor::documents, 0},
                                         {"tokens", &StreamCursor::tokens, 0}}};

// format: 0 or 1.
StreamCursor read_stream(const Json& json, int format) {
  const JsonFields fields(kCursor, json);
  StreamCursor cursor;
  for (const Member& member : kFields)
    if (member.since <= format || fields.has(member.name))
      cursor.*member.place = fields.whole(member.name, 0, member.most);
  return cursor;
}

int64_t sum(const std::vector<StreamCursor>& streams, int64_t StreamCursor::*place) {
  int64_t total = 0;
  for (const StreamCursor& stream : streams) total += stream.*place;
  return total;
}

}  // namespace

int64_t Cursor::tokens() const {
  return tokens_before + sum(streams, &StreamCursor::tokens);
}

int64_t Cursor::documents() const {
  return documents_before + sum(streams, &StreamCursor::documents);
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

void to_json(Json& json, const Cursor& cursor) {
  auto streams = Json::array();
  for (const StreamCursor& stream : cursor.streams) {
    auto& object = streams.emplace_back(Json::object());
    for (const Member& member : kFields)
      if (member.since < 2 || stream.*member.place != 0) object[member.name] = stream.*member.place;
  }
  json = {{"streams", std::move(streams)}};
  if (cursor.tokens_before > 0)
    json["before"] = {{"tokens", cursor.tokens_before}, {"documents", cursor.documents_before}};
}

void from_json(const Json& json, Cursor& cursor) {
  cursor = {};
  const JsonFields fields(kCursor, json);
  if (!fields.has("streams")) {
    cursor.streams.push_back(read_stream(json, 0));
    return;
  }
  if (fields.has("before")) {
    const JsonFields before = fields.inside("before");
    cursor.tokens_before = before.whole("tokens", 0, kMost);
    cursor.documents_before = before.whole("documents", 0, kMost);
  }
  const Json& streams = fields.list("streams");
  if (std::ssize(streams) > kMostStreams)
    fields.refuse("streams", fmt::format("at most {}", kMostStreams), std::to_string(streams.size()));
  int64_t tokens = cursor.tokens_before, documents = cursor.documents_before;
  for (const Json& stream : streams) {
    const StreamCursor& read = cursor.streams.emplace_back(read_stream(stream, 1));
    tokens += read.tokens;
    documents += read.documents;
    if (std::max(tokens, documents) > kMost)
      fields.refuse("streams", "counts of tokens and documents that a run can reach", "larger ones");
  }
}

}  // namespace moe::data
