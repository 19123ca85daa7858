// SPDX-License-Identifier: MIT
// The 50,256 tokens of GPT-2 as bytes, and the 50,000 merges they come from.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moe::text {

// Two tokens that merge; the i-th merge makes token 256 + i, and a lower i merges first.
struct Merge {
  uint16_t left, right;
};

class Vocabulary {
 public:
  // merges: the text of GPT-2's vocab.bpe: a version line, then "left right" lines in the printable alphabet.
  explicit Vocabulary(std::string_view merges);

  int32_t size() const { return static_cast<int32_t>(starts_.size()) - 1; }
  // id in [0, size()).
  std::string_view bytes(int32_t id) const {
    const auto i = static_cast<size_t>(id);
    return std::string_view(arena_).substr(starts_[i], starts_[i + 1] - starts_[i]);
  }
  // The tokens of the single bytes.
  const std::array<uint16_t, 256>& of_byte() const { return of_byte_; }
  std::span<const Merge> merges() const { return merges_; }

 private:
  void add_token(std::string_view bytes);

  std::string arena_;
  std::vector<uint32_t> starts_;
  std::array<uint16_t, 256> of_byte_;
  std::vector<Merge> merges_;
};

// The merges of GPT-2 as they lie inside the program.
std::string_view gpt2_merges();

}  // namespace moe::text
