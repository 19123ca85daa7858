// SPDX-License-Identifier: MIT
// Some bytes of a file, as far as they have been asked for: each byte is read once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/input.h"

namespace moe::data {

class Stretch {
 public:
  // The bytes [begin, end), cut to those the file has.
  Stretch(const Input& input, int64_t begin, int64_t end)
      : input_(input), begin_(std::max<int64_t>(0, begin)), text_(input.read(begin_, end)) {}

  int64_t begin() const { return begin_; }
  int64_t end() const { return begin_ + std::ssize(text_); }
  bool at_end() const { return end() >= input_.size(); }  // of the file
  std::string_view text() const { return text_; }
  // From byte `from` of the file on.
  std::string_view text(int64_t from) const {
    return std::string_view(text_).substr(static_cast<size_t>(from - begin_));
  }
  void extend(int64_t end) { text_ += input_.read(this->end(), end); }

 private:
  const Input& input_;
  const int64_t begin_;
  std::string text_;
};

}  // namespace moe::data
