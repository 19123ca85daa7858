// SPDX-License-Identifier: MIT
// Fills the table: buckets from the fullest to the emptiest, each with the first displacement that moves all
// its merges to free slots.
#include "text/merge_table.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace moe::text {

MergeTable::MergeTable(std::span<const Merge> merges, uint16_t first_id) {
  CHECK(merges.size() <= 60'000 && first_id + merges.size() <= kNone);
  constexpr int kTries = 64;  // one in two or three succeeds
  int tries = 0;
  while (!build(merges, first_id)) {
    CHECK(++tries < kTries, "no perfect hash found");
    multiplier_ = multiplier_ * 0x2C1B3C6Du + 0x12FD5EAu;  // odd stays odd
  }
}

bool MergeTable::build(std::span<const Merge> merges, uint16_t first_id) {
  std::vector<std::vector<uint32_t>> buckets(size_t{1} << (32 - kBucketShift));
  slots_.assign(kSlotMask + 1, kNone);
  displacement_.assign(buckets.size(), 0);

  std::vector<uint32_t> hashes;
  for (const Merge& merge : merges) hashes.push_back(mix(merge.left, merge.right));
  for (uint32_t i = 0; i < hashes.size(); ++i) buckets[hashes[i] >> kBucketShift].push_back(i);
  std::vector<uint32_t> order(buckets.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return buckets[a].size() > buckets[b].size(); });

  std::vector<bool> taken(slots_.size());
  for (const uint32_t bucket : order) {
    const std::vector<uint32_t>& members = buckets[bucket];
    const auto fits = [&](uint32_t displacement) {
      for (size_t i = 0; i < members.size(); ++i) {
        const uint32_t slot = (hashes[members[i]] ^ displacement) & kSlotMask;
        if (taken[slot]) {
          while (i-- > 0) taken[(hashes[members[i]] ^ displacement) & kSlotMask] = false;
          return false;
        }
        taken[slot] = true;
      }
      return true;
    };
    uint32_t displacement = 0;
    while (!fits(displacement)) {
      if (++displacement > kSlotMask) return false;
    }
    displacement_[bucket] = static_cast<uint16_t>(displacement);
    for (const uint32_t i : members) {
      slots_[(hashes[i] ^ displacement) & kSlotMask] = (hashes[i] & ~kSlotMask) | (first_id + i);
    }
  }
  return true;
}

}  // namespace moe::text
