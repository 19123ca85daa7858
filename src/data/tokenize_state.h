// SPDX-License-Identifier: MIT
// How far a call of `moe tokenize` has come: <prefix>_state.json beside the shards.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "data/cursor.h"
#include "data/tokenize.h"

namespace moe::data {

// At the beginning of a shard.
struct TokenizeState {
  bool validation = true, done = false;
  StreamCursor cursor;     // of the first token that no shard before holds
  int64_t next_shard = 1;  // shard 0 is the held-out text, whatever its length
  TokenizeCounts counts;
};

struct TokenizeRecord {
  Json settings;  // what the shards depend on
  TokenizeState now;
  std::vector<TokenizeState> begun;  // at the beginning of each finished shard; earlier versions noted none
};

std::string to_json(const TokenizeRecord& record);  // one line
// where: the file's name. UserError for anything but what to_json wrote, now or in version 0.1.
TokenizeRecord read_tokenize_record(const std::string& where, std::string_view text);

}  // namespace moe::data
