// SPDX-License-Identifier: MIT
// From a pair of tokens to the token they merge into: a perfect hash that also knows, exactly, what is not in
// it. After Belazzougui, Botelho and Dietzfelbinger, "Hash, displace, and compress", ESA 2009, without the
// third.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "text/vocabulary.h"

namespace moe::text {

class MergeTable {
 public:
  using Token = uint16_t;
  static constexpr uint16_t kNone = 0xffff;
  static constexpr Token kNoToken = kNone;

  // The i-th of at most 60,000 merges makes token first_id + i, below kNone.
  MergeTable(std::span<const Merge> merges, uint16_t first_id);

  // The token that `left right` merges into, or kNone. As the id orders the merges, it serves as the rank.
  uint16_t find(uint16_t left, uint16_t right) const {
    const uint32_t hash = mix(left, right);
    const uint32_t slot = slots_[(hash ^ displacement_[hash >> kBucketShift]) & kSlotMask];
    // mix() is a bijection. Equal high halves mean the same bucket, so the same displacement; then the same
    // slot means equal low halves too: the half kept in the slot decides exactly.
    return slot >> 16 == hash >> 16 ? static_cast<uint16_t>(slot) : kNone;
  }
  static Token result(uint32_t rank) { return static_cast<Token>(rank); }

 private:
  static constexpr int kBucketShift = 18;  // 2^14 buckets of about 3 merges
  static constexpr uint32_t kSlotMask = 0xffff;

  uint32_t mix(uint16_t left, uint16_t right) const {
    const uint32_t product = (uint32_t{left} << 16 | right) * multiplier_;
    return product ^ product >> 15;
  }
  bool build(std::span<const Merge> merges, uint16_t first_id);

  uint32_t multiplier_ = 0x9E3779B1u;  // odd
  std::vector<uint16_t> displacement_;
  std::vector<uint32_t> slots_;  // high half: that of the hash; low half: the token, kNone in an empty slot
};

}  // namespace moe::text
