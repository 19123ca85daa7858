// SPDX-License-Identifier: MIT
// A fixed-size cache from short pre-tokens to their ids: the key lies in the entry itself, two entries share
// a cache line, and a new entry drives the older one out.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "text/token_id.h"

namespace moe::text {

// Up to 15 bytes, zero after the end, and the length in the last byte.
struct PieceKey {
  static_assert(std::endian::native == std::endian::little, "the masks below count bytes from the low end");
  static constexpr size_t kMaxLength = 15;

  uint64_t low, high;
  bool operator==(const PieceKey&) const = default;

  // readable: whether 16 bytes from `piece` on may be read. The key of a longer piece means nothing.
  static PieceKey of(std::string_view piece, bool readable) {
    PieceKey key{};
    const size_t size = std::min(piece.size(), kMaxLength);
    if (readable) {
      std::memcpy(&key, piece.data(), sizeof(key));
      key.low &= kMasks[size].low;
      key.high &= kMasks[size].high;
    } else {
      std::memcpy(&key, piece.data(), size);
    }
    key.high |= uint64_t{size} << 56;
    return key;
  }

 private:
  struct Mask {
    uint64_t low, high;
  };
  static constexpr std::array<Mask, kMaxLength + 1> kMasks = [] {
    std::array<Mask, kMaxLength + 1> masks{};
    for (size_t i = 1; i <= kMaxLength; ++i) {
      masks[i] = masks[i - 1];
      (i <= 8 ? masks[i].low : masks[i].high) |= uint64_t{0xff} << 8 * ((i - 1) % 8);
    }
    return masks;
  }();
};

// Id: uint16_t, or uint32_t for vocabularies that need it. Entries have 32 bytes either way.
template <class Id>
class PieceCache {
 public:
  static constexpr size_t kMaxIds = 16 / sizeof(Id) - 1;

  // Places of kMaxIds + 1 that find() and the caller may write.
  struct Entry {
    PieceKey key;
    std::array<Id, kMaxIds> ids;
    Id count;
  };

  PieceCache() : buckets_(size_t{1} << kBits) {}

  // Asks the processor for the place of this key: many at once wait no longer than one.
  void prefetch(const PieceKey& key) const { __builtin_prefetch(&buckets_[index(key)]); }

  // The entry of this key, or null.
  const Entry* find(const PieceKey& key) const {
    const Bucket& bucket = buckets_[index(key)];
    const Entry& entry = bucket.entries[bucket.entries[0].key == key ? 0 : 1];
    return entry.key == key ? &entry : nullptr;
  }

  // ids: at most kMaxIds.
  void insert(const PieceKey& key, std::span<const TokenId> ids) {
    Bucket& bucket = buckets_[index(key)];
    bucket.entries[1] = bucket.entries[0];
    Entry& entry = bucket.entries[0];
    entry.key = key;
    for (size_t i = 0; i < ids.size(); ++i) entry.ids[i] = static_cast<Id>(ids[i]);
    entry.count = static_cast<Id>(ids.size());
  }

 private:
  static constexpr int kBits = 15;  // 2^15 buckets of 64 bytes

  struct alignas(64) Bucket {
    std::array<Entry, 2> entries;
  };

  static size_t index(const PieceKey& key) {
    const uint64_t mixed = (key.low ^ key.high * 0x9E3779B97F4A7C15u) * 0xD6E8FEB86659FD93u;
    return static_cast<size_t>(mixed >> (64 - kBits));
  }

  std::vector<Bucket> buckets_;
};

}  // namespace moe::text
