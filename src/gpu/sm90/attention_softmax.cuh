// SPDX-License-Identifier: MIT
// The running softmax of attention forward on Hopper: what a thread keeps of its two queries.
#pragma once

#include "gpu/attention_statistics.cuh"
#include "gpu/sm90/attention.cuh"
#include "gpu/sm90/attention_work.cuh"

namespace moe::gpu::sm90 {

// Exponentials of this thread's two queries are taken relative to `base`, a maximum of what came before that
// may be kSlack too low: results so far shrink only when it must be raised by more, which is seldom after the
// first tile.
struct Softmax {
  static constexpr float kSlack = 8;        // to base 2: weights are at most 2^8
  float base[2] = {0, 0}, sum[2] = {0, 0};  // base: of the scores times scale
  const int* first_T;  // the first keys that the warpgroup's queries see, in shared memory
  int from;            // the earliest key that all queries of this warp see
  float scale;         // to base 2

  // `first` becomes the first keys of this warp's 16 queries, of which the warpgroup's first is `query`.
  __device__ __forceinline__ Softmax(const Shape& shape, int* first, int row, int query)
      : first_T(first), scale(shape.scale * kLog2e) {
    const int line = static_cast<int>(threadIdx.x) % kGroup / 32 * 16 + static_cast<int>(threadIdx.x) % 16;
    const int key = query + line < shape.T ? shape.first_BT[row * shape.T + query + line] : -1;
    from = key < 0 ? kSeesNothing : key;
    first[line] = from;
#pragma unroll
    for (int lanes = 8; lanes > 0; lanes /= 2) from = max(from, __shfl_xor_sync(kAllLanes, from, lanes));
    __syncwarp();
  }

  // Scores of 64 keys from `key` on become exponentials. True if earlier results shrink: by these factors.
  template <bool begins>
  __device__ __forceinline__ bool update(Fragment& s, float (&shrink)[2], int key) {
    if (begins) hide_later(s);
    if (key < from) hide_earlier(s, key);
    bool shrinks = false;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if constexpr (begins) {
        const float top = row_maximum(s, i);
        base[i] = top == -INFINITY ? 0 : top * scale;  // -inf for padding alone
      } else {
        const float top = row_maximum(s, i) * scale;
        const bool raised = top - base[i] > kSlack;
        shrink[i] = raised ? exp2_fast(base[i] - top) : 1;
        base[i] = raised ? top : base[i];
        shrinks |= raised;
      }
      float added[2] = {0, 0};
#pragma unroll
      for (int j = 0; j < 8; ++j)
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          float& x = s[4 * j + 2 * i + c];
          x = exp2_fast(x * scale - base[i]);
          added[c] += x;
        }
      sum[i] = (begins ? sum[i] : sum[i] * shrink[i]) + (added[0] + added[1]);
    }
    return !begins && __any_sync(kAllLanes, shrinks) != 0;
  }

  __device__ __forceinline__ float row_maximum(const Fragment& s, int i) const {
    float top = s[2 * i], other = s[2 * i + 1];
#pragma unroll
    for (int j = 1; j < 8; ++j) {
      top = fmaxf(top, s[4 * j + 2 * i]);
      other = fmaxf(other, s[4 * j + 2 * i + 1]);
    }
    top = fmaxf(top, other);
    top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 1));
    return fmaxf(top, __shfl_xor_sync(kAllLanes, top, 2));
  }

  // Of the tile on the diagonal.
  __device__ __forceinline__ static void hide_later(Fragment& s) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int last = fragment_row(i) - fragment_column();
#pragma unroll
      for (int j = 0; j < 8; ++j)
#pragma unroll
        for (int c = 0; c < 2; ++c)
          if (8 * j + c > last) s[4 * j + 2 * i + c] = -INFINITY;
    }
  }
  __device__ __forceinline__ void hide_earlier(Fragment& s, int key) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int begin = first_T[fragment_row(i)] - key - fragment_column();
#pragma unroll
      for (int j = 0; j < 8; ++j)
#pragma unroll
        for (int c = 0; c < 2; ++c)
          if (8 * j + c < begin) s[4 * j + 2 * i + c] = -INFINITY;
    }
  }
};

}  // namespace moe::gpu::sm90
