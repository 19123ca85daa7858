// SPDX-License-Identifier: MIT
// What a training step eats: B rows of T tokens on the host.
#pragma once

#include <cstdint>
#include <vector>

#include "data/cursor.h"
#include "text/token_id.h"

namespace moe::data {

// Arrays are [rows, length], row-major. How documents become rows: data/packer.h.
struct Batch {
  int64_t rows = 0, length = 0;
  std::vector<text::TokenId> input;   // token ids; TokenizerFacts::filler() where padded
  std::vector<text::TokenId> target;  // the token after input; -1: none
  std::vector<int32_t> first;         // where in the row the token's document starts: the position of its
                                      // end of text, or of its first token in this row when it began in an
                                      // earlier row; always 0 without data.document_mask; -1: padding
  int64_t targets = 0;                // targets that count
  int64_t target_bytes = 0;  // bytes of the source that they stand for (end of text: none), for bits per byte
  int64_t positions() const { return rows * length; }  // targets and padding
  // A batch with nothing in it.
  static Batch padding(int64_t rows, int64_t length, text::TokenId id) {
    Batch batch;
    batch.rows = rows;
    batch.length = length;
    const auto size = static_cast<size_t>(rows * length);
    batch.input.assign(size, id);
    batch.target.assign(size, -1);
    batch.first.assign(size, -1);
    return batch;
  }
  Cursor after;  // where the next batch starts; with several ranks, true for the streams this rank reads
};

}  // namespace moe::data
