// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <numeric>
#include <span>

namespace moe {

// One of `world` equal parts of something that ranks share.
struct Shard {
  int64_t rank = 0, world = 1;
};

// Of something in pieces, one after another, of counts[r] elements each: where piece `rank` begins.
inline int64_t elements_before(std::span<const int64_t> counts, int64_t rank) {
  return std::accumulate(counts.begin(), counts.begin() + rank, int64_t{0});
}
inline int64_t elements_of(std::span<const int64_t> counts) {
  return elements_before(counts, std::ssize(counts));
}

}  // namespace moe
