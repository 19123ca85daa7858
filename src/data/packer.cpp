// SPDX-License-Identifier: MIT
#include "data/packer.h"

#include <fmt/format.h>

#include <utility>

#include "base/error.h"

namespace moe {

Packer::Packer(Next next, const Tokenizer& tokenizer, int64_t rows, int64_t length, bool mask,
               const Cursor& start)
    : next_(std::move(next)), rows_(rows), length_(length), mask_(mask), cursor_(start) {
  CHECK(rows >= 1 && length >= 1);
  token_bytes_.reserve(Tokenizer::kVocabulary);
  for (int32_t id = 0; id < Tokenizer::kVocabulary; ++id)
    token_bytes_.push_back(static_cast<int32_t>(tokenizer.bytes(id).size()));
}

std::optional<Batch> Packer::next() {
  if (!begun_) ended_ = !begin();
  if (ended_) return std::nullopt;
  Batch batch;
  batch.rows = rows_;
  batch.length = length_;
  const auto size = static_cast<size_t>(rows_ * length_);
  batch.input.assign(size, Tokenizer::kEndOfText);
  batch.target.assign(size, -1);
  batch.first.assign(size, -1);
  for (int64_t row = 0; row < rows_ && !ended_; ++row) fill_row(batch, row);
  if (batch.targets == 0) return std::nullopt;
  cursor_.tokens += batch.targets;
  batch.after = cursor_;
  return batch;
}

void Packer::fill_row(Batch& batch, int64_t row) {
  int32_t first = 0;
  for (int64_t t = 0; t < length_; ++t) {
    if (mask_ && at_ == begin_) first = static_cast<int32_t>(t);
    const int32_t input = piece_.ids[static_cast<size_t>(at_)];
    if (!step()) {  // the last token of all: nothing follows it, so it is no input
      ended_ = true;
      return;
    }
    const int32_t target = piece_.ids[static_cast<size_t>(at_)];
    const auto i = static_cast<size_t>(row * length_ + t);
    batch.input[i] = input;
    batch.target[i] = target;
    batch.first[i] = first;
    ++batch.targets;
    batch.target_bytes += token_bytes_[static_cast<size_t>(target)];
  }
}

// Goes to the token the cursor names.
bool Packer::begin() {
  begun_ = true;
  if (!next_piece()) return false;
  if (cursor_.token >= piece_.ends[0])
    throw UserError("data cursor", fmt::format("token {} of document {}", cursor_.token, cursor_.document),
                    fmt::format("a document of {} tokens", piece_.ends[0]),
                    "the data or its settings differ from those of the run that wrote the checkpoint");
  at_ = cursor_.token;
  return true;
}

// Makes the next token the current one; false at the end, where nothing changes.
bool Packer::step() {
  if (at_ + 1 < piece_.ends[document_]) {
    ++at_;
    ++cursor_.token;
    return true;
  }
  if (document_ + 1 < piece_.ends.size()) {
    begin_ = at_ = piece_.ends[document_];
    ++document_;
    ++cursor_.document;
  } else if (!next_piece()) {
    return false;
  }
  cursor_.token = 0;
  ++cursor_.documents;
  return true;
}

bool Packer::next_piece() {
  std::optional<TokenPiece> piece;
  do {
    piece = next_();
    if (!piece) return false;
  } while (piece->ends.empty());
  piece_ = std::move(*piece);
  document_ = 0;
  begin_ = at_ = 0;
  cursor_.epoch = piece_.epoch;
  cursor_.window = piece_.window;
  cursor_.document = piece_.document;
  return true;
}

}  // namespace moe
