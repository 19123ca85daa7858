// SPDX-License-Identifier: MIT
// Cuts text into words, each with the spaces in front of it: where a piece of SentencePiece can neither begin
// before nor end after.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string_view>

#include "text/cutter.h"
#include "text/piece_name.h"

namespace moe::text {

class WordCutter final : public Cutter {
 public:
  // text: well-formed UTF-8 that outlives this object.
  explicit WordCutter(std::string_view text) : text_(text) {}

  std::span<const size_t> next() override {
    size_t count = 0;
    while (count < ends_.size() && position_ < text_.size()) {
      position_ = std::min(word_end(position_ + 1), text_.size());
      ends_[count++] = position_;
    }
    return {ends_.data(), count};
  }

 private:
  // Not behind U+2581, which counts as a space, nor in front of a space that is the last of the text: without
  // it nothing would be left of that word.
  size_t word_end(size_t from) const {
    for (size_t at = text_.find(' ', from); at < text_.size() - 1; at = text_.find(' ', at + 1)) {
      if (text_[at - 1] != ' ' && !text_.substr(0, at).ends_with(kSpaceSign)) return at;
    }
    return text_.size();
  }

  std::string_view text_;
  size_t position_ = 0;
  std::array<size_t, kMaxBatch> ends_;
};

}  // namespace moe::text
