// SPDX-License-Identifier: MIT
#include "text/pair_table.h"

#include <algorithm>
#include <bit>

#include "base/error.h"

namespace moe::text {

PairTable::PairTable(size_t merges) {
  CHECK(merges <= kMostMerges);
  const size_t slots = std::bit_ceil(std::max<size_t>(2 * merges, 2));
  shift_ = 64 - std::countr_zero(slots);
  mask_ = slots - 1;
  slots_.assign(slots, kEmpty);
  results_.reserve(merges);
}

bool PairTable::add(const PairMerge& merge) {
  const auto left = static_cast<Token>(merge.left), right = static_cast<Token>(merge.right);
  CHECK(left < kNoToken && right < kNoToken && 2 * (results_.size() + 1) <= slots_.size());
  const uint64_t key = key_of(left, right);
  size_t slot = place(key);
  for (; slots_[slot] != kEmpty; slot = (slot + 1) & mask_) {
    if (slots_[slot] >> kRankBits == key) return false;
  }
  slots_[slot] = key << kRankBits | results_.size();
  results_.push_back(static_cast<Token>(merge.result));
  return true;
}

std::vector<PairMerge> PairTable::merges() const {
  std::vector<PairMerge> list(results_.size());
  for (const uint64_t slot : slots_) {
    if (slot == kEmpty) continue;
    const uint64_t key = slot >> kRankBits;
    const auto rank = static_cast<size_t>(slot & kNone);
    list[rank] = {static_cast<TokenId>(key >> kIdBits), static_cast<TokenId>(key & kNoToken),
                  static_cast<TokenId>(results_[rank])};
  }
  return list;
}

}  // namespace moe::text
