// SPDX-License-Identifier: MIT
// Documents of one stream into rows, in one of three ways; keeps the stream's cursor. A document is the
// end-of-text token and its tokens.
//
//   concat    The stream is one endless text: a row takes the next `length` targets, and its first input is
//             the last target of the row before. Nothing wasted and nothing twice.
//   best_fit  A document of n tokens takes n + 1 places of a row: its tokens as inputs, the tokens after them
//             as targets, the last of which is end of text. Documents longer than a row are cut into rows;
//             the others, and the remainders, stay whole: best-fit decreasing over the documents of a window
//             (Ding et al., "Fewer Truncations Improve Language Modeling", ICML 2024), then the window's rows
//             are permuted. What is left of a row is padding.
//   pad       The same places, but one document a row; longer ones go on in further rows.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "data/config.h"
#include "data/cursor.h"
#include "data/token_streams.h"

namespace moe::data {

// One row of a batch (data/batch.h), which comes as padding.
struct BatchRow {
  std::span<text::TokenId> input, target;
  std::span<int32_t> first;
  int64_t targets = 0;  // counted here
};

class Packer {
 public:
  using NextPiece = std::function<std::optional<TokenPiece>()>;
  // Which of a window's `count` rows comes first, second, ...
  using RowOrder = std::function<std::vector<uint32_t>(int64_t epoch, int64_t window, uint32_t count)>;
  struct Options {
    Packing packing = Packing::concat;
    int64_t length = 0;  // of a row
    bool mask = true;    // data.document_mask: fill BatchRow::first
    text::TokenId end_of_text = 0;
  };

  // next gives the pieces from stream_start(start) on; row_order is for best_fit.
  static std::unique_ptr<Packer> make(const Options& options, NextPiece next, RowOrder row_order,
                                      const StreamCursor& start);
  // Where the pieces must begin: best_fit packs whole windows again.
  static StreamCursor stream_start(Packing packing, const StreamCursor& start);
  virtual ~Packer() = default;

  // False at the end of the pieces, where the row may have got some targets or none. Throws UserError when
  // there is no token or row at `start`.
  virtual bool fill(BatchRow& row) = 0;
  const StreamCursor& cursor() const { return cursor_; }  // of the next row

 protected:
  explicit Packer(const StreamCursor& start) : cursor_(start) {}
  void count(const BatchRow& row);
  StreamCursor cursor_;
};

}  // namespace moe::data
