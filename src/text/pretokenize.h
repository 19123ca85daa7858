// SPDX-License-Identifier: MIT
// Cuts text into GPT-2's pre-tokens, the pieces inside which BPE merges. The same cuts as the regular
// expression
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// (Radford et al. 2019, encoder.py), found by bit arithmetic on 64 bytes at a time and without any regex.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "text/cutter.h"

namespace moe::text {

class UnicodeClasses;

class Pretokenizer final : public Cutter {
 public:
  // text: well-formed UTF-8 that outlives this object.
  explicit Pretokenizer(std::string_view text);

  std::span<const size_t> next() override;

 private:
  static constexpr size_t kBlock = 64;

  // Bit i speaks of byte i of the block; all bytes of a character carry its class.
  struct Block {
    size_t length;  // a block never cuts a character in two
    uint64_t letter, number, other, white;
    uint64_t space;       // U+0020, the one character that joins what follows it
    uint64_t white_tail;  // bytes after the first of a longer white character
    uint64_t apostrophe;
  };
  // What a block must know of the one before it: bit 0 of each is about its last byte.
  struct Before {
    uint64_t letter = 0, number = 0, other = 0, white = 0, space = 0;
    uint64_t begin = 0, inside = 0;  // contractions that reach into this block: bits as in contractions()
  };
  struct Contractions {
    uint64_t begin = 0, inside = 0;  // where a pre-token must begin, and where none can
    uint64_t begin_next = 0, inside_next = 0;
  };

  Block classify(const char* bytes, size_t available) const;
  void classify_long_characters(const char* bytes, uint64_t long_bytes, Block& block) const;
  Contractions contractions(uint64_t apostrophes, size_t length) const;
  bool white_at(size_t position) const;
  uint64_t scan_block(size_t& length);

  std::string_view text_;
  const UnicodeClasses& classes_;
  size_t position_ = 0;
  Before before_;
  std::array<size_t, kMaxBatch + 8> ends_;
};

}  // namespace moe::text
