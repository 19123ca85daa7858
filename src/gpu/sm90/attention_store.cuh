// SPDX-License-Identifier: MIT
// How attention's kernels for Hopper store what threads hold of a product: 16 bytes a lane.
#pragma once

#include <cstring>

#include "gpu/block_reduce.cuh"
#include "gpu/mma.cuh"
#include "gpu/numbers.cuh"
#include "gpu/sm90/attention.cuh"

namespace moe::gpu::sm90 {

// Four lanes next to each other hold a 4 x 4 matrix of words, a row each: transposes it.
__device__ __forceinline__ void transpose(uint32_t (&w)[4]) {
  const int lane = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int bit = 1; bit < 4; bit *= 2)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if ((i & bit) != 0) continue;
      const bool upper = (lane & bit) != 0;
      const uint32_t got = __shfl_xor_sync(kAllLanes, upper ? w[i] : w[i | bit], bit);
      (upper ? w[i] : w[i | bit]) = got;
    }
}

// Row i's part of a fragment times factor, rounded: this lane's 8 elements from column piece_column(half) on.
// All lanes of the warp call it.
__device__ __forceinline__ int piece_column(int half) {
  return 32 * half + static_cast<int>(threadIdx.x) % 4 * 8;
}
template <class T>
__device__ __forceinline__ Vec<T, 8> row_piece(const Fragment& x, int i, int half, float factor) {
  uint32_t words[4];
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const int at = 4 * (4 * half + j) + 2 * i;
    words[j] = pack<T>(x[at] * factor, x[at + 1] * factor);
  }
  transpose(words);
  Vec<T, 8> piece;
  memcpy(&piece, words, sizeof(piece));
  return piece;
}

// Rounds to T and stores the rows of a product, times factor: where row(i) is not null.
template <class T, size_t boxes, class Row>
__device__ __forceinline__ void store_rows(const Fragment (&x)[boxes], float factor, Row row) {
#pragma unroll
  for (int i = 0; i < 2; ++i)
#pragma unroll
    for (int part = 0; part < 2 * static_cast<int>(boxes); ++part) {
      const auto piece = row_piece<T>(x[part / 2], i, part % 2, factor);
      if (T* const to = row(i)) store(to + part / 2 * kLine + piece_column(part % 2), piece);
    }
}

}  // namespace moe::gpu::sm90
