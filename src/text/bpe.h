// SPDX-License-Identifier: MIT
// Byte-pair merging of one pre-token: repeatedly the pair of neighbours with the lowest rank, leftmost first,
// as in GPT-2's encoder.py. No cache here and no cutting of text.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/merge_table.h"
#include "text/token_id.h"
#include "text/vocabulary.h"

namespace moe::text {

// Working memory of one thread.
class BytePairScratch {
  friend class BytePairEncoder;

  static constexpr size_t kShort = 128;  // the longest piece that a search of all pairs serves best
  struct Node {
    size_t previous, next;
    uint16_t token, merged;  // merged: what this token and the next one make, MergeTable::kNone if nothing
  };

  std::array<uint32_t, kShort + 16> candidates_;
  std::array<uint16_t, kShort + 2> tokens_;
  std::array<uint8_t, kShort + 2> previous_, next_;
  std::vector<Node> nodes_;
  std::vector<uint64_t> heap_;
};

class BytePairEncoder {
 public:
  // The vocabulary is used here only, not kept.
  explicit BytePairEncoder(const Vocabulary& vocabulary);

  // Appends the ids of `piece` (any bytes). O(n log n).
  void encode(std::string_view piece, std::vector<TokenId>& ids, BytePairScratch& scratch) const;

 private:
  void encode_short(std::string_view piece, std::vector<TokenId>& ids, BytePairScratch& scratch) const;
  void encode_long(std::string_view piece, std::vector<TokenId>& ids, BytePairScratch& scratch) const;

  std::array<uint16_t, 256> of_byte_;
  MergeTable merges_;
};

}  // namespace moe::text
