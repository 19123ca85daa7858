// SPDX-License-Identifier: MIT
// Documents into rows: concatenate and cut, nothing wasted and nothing twice. Keeps the cursor.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "data/batch.h"
#include "data/cursor.h"
#include "data/token_stream.h"

namespace moe {

class Packer {
 public:
  using Next = std::function<std::optional<TokenPiece>()>;

  // next gives the pieces from start.document on. mask: fill Batch::first (data.document_mask).
  Packer(Next next, const Tokenizer& tokenizer, int64_t rows, int64_t length, bool mask, const Cursor& start);

  // Nothing at the end of the pieces. Throws UserError when the document at `start` has no token start.token.
  std::optional<Batch> next();

 private:
  bool begin();
  bool step();
  bool next_piece();
  void fill_row(Batch& batch, int64_t row);

  Next next_;
  const int64_t rows_, length_;
  const bool mask_;
  std::vector<int32_t> token_bytes_;  // bytes of text of each id

  TokenPiece piece_;
  size_t document_ = 0;         // in piece_
  int64_t begin_ = 0, at_ = 0;  // in piece_.ids: the document's first token, the current token
  Cursor cursor_;               // of the current token
  bool begun_ = false, ended_ = false;
};

}  // namespace moe
