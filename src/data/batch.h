// SPDX-License-Identifier: MIT
// What a training step eats: B rows of T tokens on the host.
#pragma once

#include <cstdint>
#include <vector>

#include "data/cursor.h"

namespace moe {

// Arrays are [rows, length], row-major. The stream is one endless text, each document as <|endoftext|> and
// its tokens; a row takes the next `length` targets, and its first input is the last target of the row
// before.
struct Batch {
  int64_t rows = 0, length = 0;
  std::vector<int32_t> input;   // token ids; <|endoftext|> where padded
  std::vector<int32_t> target;  // the token after input; -1: none
  std::vector<int32_t> first;   // where in the row the token's document starts: the position of its
                                // <|endoftext|>, or 0 when it began in an earlier row; always 0 without
                                // data.document_mask; -1: padding
  int64_t targets = 0;          // targets that count
  int64_t target_bytes = 0;     // bytes of text they stand for (<|endoftext|>: none), for bits per byte
  Cursor after;                 // where the next batch starts
};

}  // namespace moe
