// SPDX-License-Identifier: MIT
// data.packing = best_fit (data/packer.h), window by window, and what it shares with pad: a document's places
// in a row.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/packer.h"

namespace moe::data {

// Places from ... from + places - 1 of a document at position `at` of the row; `first` goes to
// BatchRow::first. end_of_text: the target of the document's last token.
void put_document(std::span<const text::TokenId> tokens, size_t from, size_t places, size_t at, int32_t first,
                  text::TokenId end_of_text, BatchRow& row);

// Part of a document: places [from, from + places).
struct PackedPart {
  size_t document = 0, from = 0, places = 0;
};
// Documents of these many places into rows of `length`: full rows first, then the others as they were opened.
std::vector<std::vector<PackedPart>> best_fit(std::span<const size_t> places, size_t length);

class BestFitPacker : public Packer {
 public:
  BestFitPacker(const Options& options, NextPiece next, RowOrder row_order, const StreamCursor& start);
  bool fill(BatchRow& row) override;

 private:
  bool next_window();

  const Options options_;
  const NextPiece next_;
  const RowOrder row_order_;
  int64_t start_row_;                               // in the first window; -1 afterwards
  std::vector<std::vector<text::TokenId>> tokens_;  // of the window's documents
  std::vector<std::vector<PackedPart>> rows_;
  std::vector<uint32_t> order_;
  size_t next_row_ = 0;
};

}  // namespace moe::data
