// SPDX-License-Identifier: MIT
// A place in the endless stream of training rows. Small, complete (no other state is needed to go on from it)
// and independent of threads, ranks and batch shape; the checkpoint keeps it as JSON.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/json.h"

namespace moe::data {

// In one of the streams of data/interleave.h.
struct StreamCursor {
  // data.packing concat: the token at which the next row starts; it was the last target of the row before.
  // pad: the token that the next row begins with. best_fit: the next row; token is 0.
  int64_t epoch = 0;
  int64_t window = 0;    // in the epoch
  int64_t document = 0;  // in the window, in the order in which its documents are taken; best_fit: the row
  int64_t token = 0;     // in the document; 0 is the end-of-text token in front of it

  int64_t rows = 0;  // given so far; the sum over the streams says whose turn it is

  // Counters, for people: they do not steer anything.
  int64_t documents = 0;  // finished so far
  int64_t tokens = 0;     // targets given so far

  int64_t whole = 0;  // 1: in an epoch its own units held no documents, so it reads those of all its share

  bool operator==(const StreamCursor&) const = default;
};

struct Cursor {
  std::vector<StreamCursor> streams;  // empty: the start, whatever the number of streams

  // Given of earlier texts (data.stage).
  int64_t tokens_before = 0, documents_before = 0;

  // The start of another text.
  Cursor next_text() const { return {{}, tokens(), documents()}; }

  int64_t tokens() const;  // of all streams and texts; likewise below
  int64_t documents() const;
  int64_t epoch() const;  // the least: all documents of the epochs before it have been given

  bool operator==(const Cursor&) const = default;
};

// What several ranks know together: each knows the streams that it reads. One cursor or more, of as many
// streams each.
Cursor merge(std::span<const Cursor> of_ranks);

void to_json(Json& json, const Cursor& cursor);
// Reads the format of version 0.1 too, which had one stream. Throws UserError when a field is missing,
// negative or not an integer.
void from_json(const Json& json, Cursor& cursor);

}  // namespace moe::data
