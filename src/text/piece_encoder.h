// SPDX-License-Identifier: MIT
// From the pieces of a text to ids: what the cache knows is copied, the rest is merged.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "text/piece_cache.h"
#include "text/token_id.h"

namespace moe::text {

// Appends the ids of `text`, which `cutter` cuts (a Cutter: see text/cutter.h). merge(piece, ids) appends
// those of one piece; they must depend on nothing else.
template <class Cutter, class Cache, class Merge>
void encode_pieces(std::string_view text, Cutter& cutter, Cache& cache, std::vector<TokenId>& ids,
                   const Merge& merge) {
  // Ids gather here before they are appended: an entry is copied whole, whatever its count.
  constexpr size_t kEntry = Cache::kMaxIds + 1;
  std::array<TokenId, 1024> gathered;
  size_t count = 0;
  const auto flush = [&] {
    ids.insert(ids.end(), gathered.begin(), gathered.begin() + static_cast<ptrdiff_t>(count));
    count = 0;
  };

  std::array<PieceKey, Cutter::kMaxBatch> keys;
  size_t begin = 0;
  for (auto ends = cutter.next(); !ends.empty(); ends = cutter.next()) {
    size_t at = begin;
    for (size_t i = 0; i < ends.size(); ++i) {
      const std::string_view piece = text.substr(at, ends[i] - at);
      keys[i] = PieceKey::of(piece, text.size() - at >= sizeof(PieceKey));
      cache.prefetch(keys[i]);
      at = ends[i];
    }
    for (size_t i = 0; i < ends.size(); ++i) {
      const std::string_view piece = text.substr(begin, ends[i] - begin);
      begin = ends[i];
      const bool cacheable = piece.size() <= PieceKey::kMaxLength;
      if (const auto* const entry = cacheable ? cache.find(keys[i]) : nullptr) {
        if (count + kEntry > gathered.size()) flush();
        for (size_t j = 0; j < Cache::kMaxIds; ++j) gathered[count + j] = entry->ids[j];
        count += entry->count;
        continue;
      }
      flush();
      const size_t before = ids.size();
      merge(piece, ids);
      const std::span<const TokenId> made(ids.data() + before, ids.size() - before);
      if (cacheable && made.size() <= Cache::kMaxIds) cache.insert(keys[i], made);
    }
  }
  flush();
}

}  // namespace moe::text
