// SPDX-License-Identifier: MIT
// The packings that need no more than the next document; best_fit is in best_fit_packer.cpp.
#include "data/packer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "data/best_fit_packer.h"
#include "data/source_bytes.h"

namespace moe::data {
namespace {

// Throws for a cursor that does not fit the data.
void check_token(const StreamCursor& cursor, int64_t tokens) {
  if (cursor.token >= tokens)
    throw UserError("data cursor", fmt::format("token {} of document {}", cursor.token, cursor.document),
                    fmt::format("a document of {} tokens", tokens),
                    "the data or its settings differ from those of the run that wrote the checkpoint");
}

// The current document, among the pieces.
class Position {
 public:
  explicit Position(Packer::NextPiece next) : next_(std::move(next)) {}

  // The next document; false at the end, where the current one stays.
  bool advance(StreamCursor& cursor) {
    if (document_ + 1 < piece_.ends.size()) {
      begin_ = piece_.ends[document_];
      ++document_;
      cursor.document = piece_.document + static_cast<int64_t>(document_);
      return true;
    }
    std::optional<TokenPiece> piece;
    do {
      piece = next_();
      if (!piece) return false;
    } while (piece->ends.empty());
    piece_ = std::move(*piece);
    document_ = 0;
    begin_ = 0;
    cursor.epoch = piece_.epoch;
    cursor.window = piece_.window;
    cursor.whole = piece_.whole ? 1 : 0;
    cursor.document = piece_.document;
    return true;
  }

  std::span<const text::TokenId> tokens() const {
    return std::span(piece_.ids)
        .subspan(static_cast<size_t>(begin_), static_cast<size_t>(piece_.ends[document_] - begin_));
  }

 private:
  Packer::NextPiece next_;
  TokenPiece piece_;
  size_t document_ = 0;  // in piece_
  int64_t begin_ = 0;    // of the document, in piece_.ids
};

class ConcatPacker : public Packer {
 public:
  ConcatPacker(const Options& options, NextPiece next, const StreamCursor& start)
      : Packer(start), mask_(options.mask), position_(std::move(next)) {}

  bool fill(BatchRow& row) override {
    if (!begun_ && !begin()) return false;
    int32_t first = 0;
    bool more = true;
    for (size_t t = 0; t < row.input.size(); ++t) {
      if (mask_ && cursor_.token == 0) first = static_cast<int32_t>(t);
      const text::TokenId input = tokens_[static_cast<size_t>(cursor_.token)];
      more = step();
      if (!more) break;  // the last token of all: nothing follows it, so it is no input
      row.input[t] = input;
      row.target[t] = tokens_[static_cast<size_t>(cursor_.token)];
      row.first[t] = first;
      ++row.targets;
    }
    count(row);
    return more;
  }

 private:
  // Goes to the token the cursor names.
  bool begin() {
    const int64_t token = cursor_.token;
    if (!position_.advance(cursor_)) return false;
    begun_ = true;
    tokens_ = position_.tokens();
    check_token(cursor_, static_cast<int64_t>(tokens_.size()));
    cursor_.token = token;
    return true;
  }

  // Makes the next token the current one; false at the end, where nothing changes.
  bool step() {
    if (static_cast<size_t>(cursor_.token) + 1 < tokens_.size()) {
      ++cursor_.token;
      return true;
    }
    if (!position_.advance(cursor_)) return false;
    tokens_ = position_.tokens();
    cursor_.token = 0;
    ++cursor_.documents;
    return true;
  }

  const bool mask_;
  Position position_;
  std::span<const text::TokenId> tokens_;  // of the current document
  bool begun_ = false;
};

class PadPacker : public Packer {
 public:
  PadPacker(const Options& options, NextPiece next, const StreamCursor& start)
      : Packer(start), end_of_text_(options.end_of_text), position_(std::move(next)) {}

  bool fill(BatchRow& row) override {
    if (!inside_) {
      if (!position_.advance(cursor_)) return false;
      check_token(cursor_, static_cast<int64_t>(position_.tokens().size()));
      inside_ = true;
    }
    const auto tokens = position_.tokens();
    const auto from = static_cast<size_t>(cursor_.token);
    const size_t places = std::min(row.input.size(), tokens.size() - from);
    put_document(tokens, from, places, 0, 0, end_of_text_, row);
    count(row);
    if (from + places < tokens.size()) {
      cursor_.token += static_cast<int64_t>(places);
    } else {
      ++cursor_.documents;
      cursor_.token = 0;
      inside_ = false;
      ++cursor_.document;  // advance() sets it, when it comes to that
    }
    return true;
  }

 private:
  const text::TokenId end_of_text_;
  Position position_;
  bool inside_ = false;  // the cursor's document is the current one
};

}  // namespace

void put_document(std::span<const text::TokenId> tokens, size_t from, size_t places, size_t at, int32_t first,
                  text::TokenId end_of_text, BatchRow& row) {
  for (size_t k = 0; k < places; ++k) {
    const bool last = from + k + 1 == tokens.size();
    row.input[at + k] = tokens[from + k];
    row.first[at + k] = first;
    if (last ? is_conversation(tokens) : is_given(tokens[from + k + 1])) continue;
    row.target[at + k] = last ? end_of_text : tokens[from + k + 1];
    ++row.targets;
  }
}

void Packer::count(const BatchRow& row) {
  ++cursor_.rows;
  cursor_.tokens += row.targets;
}

StreamCursor Packer::stream_start(Packing packing, const StreamCursor& start) {
  StreamCursor result = start;
  switch (packing) {
    case Packing::concat:
    case Packing::pad:
      break;
    case Packing::best_fit:
      result.document = 0;
      break;
  }
  return result;
}

std::unique_ptr<Packer> Packer::make(const Options& options, NextPiece next, RowOrder row_order,
                                     const StreamCursor& start) {
  CHECK(options.length >= 1);
  switch (options.packing) {
    case Packing::concat:
      return std::make_unique<ConcatPacker>(options, std::move(next), start);
    case Packing::pad:
      return std::make_unique<PadPacker>(options, std::move(next), start);
    case Packing::best_fit:
      return std::make_unique<BestFitPacker>(options, std::move(next), std::move(row_order), start);
  }
  CHECK(false, "a packing without a packer");
}

}  // namespace moe::data
