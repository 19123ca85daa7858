// SPDX-License-Identifier: MIT
// From a pair of tokens to their merge, for vocabularies of any size: open addressing, at most half full, one
// word of 64 bits for a merge. text/merge_table.h is the smaller one of GPT-2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "text/token_id.h"

namespace moe::text {

// Two tokens that merge, and into what. In a list of merges the earlier one goes first.
struct PairMerge {
  TokenId left, right, result;
};

class PairTable {
 public:
  using Token = uint32_t;
  static constexpr uint32_t kNone = 0xffffff;
  static constexpr Token kNoToken = 0xfffff;  // ids are below it
  static constexpr size_t kMostMerges = kNone;

  PairTable() : PairTable(0) {}
  // Room for so many merges, at most kMostMerges.
  explicit PairTable(size_t merges);

  // The next merge in order of rank. False where the pair has one already.
  bool add(const PairMerge& merge);

  // The rank of the merge of these two, kNone where they do not merge.
  uint32_t find(Token left, Token right) const {
    const uint64_t key = key_of(left, right);
    for (size_t slot = place(key);; slot = (slot + 1) & mask_) {
      if (slots_[slot] >> kRankBits == key) return static_cast<uint32_t>(slots_[slot]) & kNone;
      if (slots_[slot] == kEmpty) return kNone;
    }
  }
  Token result(uint32_t rank) const { return results_[rank]; }
  // In order of rank.
  std::vector<PairMerge> merges() const;

 private:
  static constexpr int kRankBits = 24;
  static constexpr int kIdBits = 20;
  static constexpr uint64_t kEmpty = ~uint64_t{0};  // its rank is kNone, so its key may be asked for

  static uint64_t key_of(Token left, Token right) { return uint64_t{left} << kIdBits | right; }
  size_t place(uint64_t key) const { return static_cast<size_t>(key * 0x9E3779B97F4A7C15u >> shift_); }

  int shift_ = 0;
  size_t mask_ = 0;
  std::vector<uint64_t> slots_;  // key, then rank
  std::vector<Token> results_;   // by rank
};

}  // namespace moe::text
