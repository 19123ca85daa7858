// SPDX-License-Identifier: MIT
// What attention's gradients need of each query beside its rows: lse of the forward pass, delta = sum do * o
// (which is sum_s p ds/dp, Dao et al. 2022) and the first key it sees. Laid out by head, and padded in time
// so that tiles of queries can be copied whole.
#pragma once

#include <climits>
#include <cstdint>

#include "gpu/attention_shape.h"
#include "gpu/block_reduce.cuh"
#include "gpu/mma.cuh"
#include "gpu/numbers.cuh"

namespace moe::gpu {

inline constexpr int kStatisticsTile = 64;
inline constexpr int kSeesNothing = INT_MAX;  // as the first key of padding

struct Statistics {
  float *lse_BHT, *delta_BHT;  // lse in units of log2; infinite for padding, so that its weights become 0
  int32_t* first_BT;           // the first key of a query; kSeesNothing for padding
  int32_t* last_BT;            // at the first token of a document its last one; elsewhere nothing
  int padded;                  // T rounded up to whole tiles
  const int32_t* document_BT;  // the op's doc_start, not padded
  int window;                  // keys that a query sees; 0: all

  __device__ __forceinline__ int64_t at(int b, int heads, int head, int t) const {
    return (int64_t{b} * heads + head) * padded + t;
  }
};

// The first key that token t sees: that of its document, or where its window begins. Negative for padding.
__device__ __forceinline__ int first_key(int doc_start, int t, int window) {
  return window > 0 && doc_start >= 0 ? max(doc_start, t - window + 1) : doc_start;
}

// Behind the last query that sees key t, of those before `end`.
__device__ __forceinline__ int last_seen(int end, int t, int window) {
  return window > 0 && window < end - t ? t + window : end;
}

// Of one query, what its scores need.
struct QueryStatistics {
  float lse, delta;
};

// Starts the copy of lse, delta and first keys of `columns` queries, one after another.
template <int columns>
__device__ __forceinline__ void copy_statistics(void* to, const Statistics& statistics, int b, int heads,
                                                int head, int query) {
  constexpr int pieces = columns / 4;
  const int which = static_cast<int>(threadIdx.x) / pieces, i = static_cast<int>(threadIdx.x) % pieces * 4;
  if (which >= 3) return;
  const int64_t at = statistics.at(b, heads, head, query) + i;
  const void* const from = which == 0   ? static_cast<const void*>(statistics.lse_BHT + at)
                           : which == 1 ? static_cast<const void*>(statistics.delta_BHT + at)
                                        : statistics.first_BT + statistics.at(b, 1, 0, query) + i;
  cp_async_16(static_cast<char*>(to) + (which * columns + i) * 4, from, 16);
}

// The end of the document of token t: the first later token that does not belong to it. All lanes of a warp
// ask alike.
__device__ __forceinline__ int document_end(const int32_t* doc_start_T, int t, int length) {
  const int document = doc_start_T[t], lane = static_cast<int>(threadIdx.x) % 32;
  int low = t + 1, high = length;  // all tokens before low belong to it, high and later ones do not
  if (document < 0) return low;
  while (low < high) {
    const int step = (high - low + 31) / 32, at = low + lane * step;
    const unsigned inside = __ballot_sync(kAllLanes, at < high && doc_start_T[at] == document);
    const int count = __popc(inside);
    high = min(high, low + count * step);
    low = count == 0 ? low : low + (count - 1) * step + 1;
  }
  return low;
}

}  // namespace moe::gpu
