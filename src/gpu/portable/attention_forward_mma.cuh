// SPDX-License-Identifier: MIT
// Attention forward on matrix units (FlashAttention-2, Dao 2023): a block takes a tile of queries of one head
// and passes over the keys they see, the next tile of keys and values on its way while this one is used.
#pragma once

#include <cstdint>

#include "gpu/attention_shape.h"
#include "gpu/dynamic_shared.cuh"
#include "gpu/portable/attention_mma.cuh"

namespace moe::gpu {

template <class T, int dim>
struct ForwardTile {
  static constexpr int kRowTiles = dim <= 64 ? 2 : 1;  // of 16 queries to a warp; what registers hold
  static constexpr int kWarpRows = 16 * kRowTiles, kQueries = kAttentionWarps * kWarpRows;
  static constexpr int kKeys = WideNumber<T> ? 32 : 64, kStride = kTileStride<T, dim>;
  static constexpr int kStageElements = 2 * kKeys * kStride, kStages = 2;
  static constexpr int kSharedBytes = (kQueries * kStride + kStages * kStageElements) * int{sizeof(T)};
};

// The running softmax of a warp's queries: the lane's rows g and g + 8 of each tile of 16.
template <int row_tiles, int columns, int dim>
struct OnlineSoftmax {
  float output[row_tiles][dim / 8][4];
  float largest[row_tiles][2], total[row_tiles][2];  // of scores as they are; total: this lane's columns

  __device__ __forceinline__ OnlineSoftmax() {
    clear(output);
#pragma unroll
    for (int i = 0; i < row_tiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) largest[i][half] = -INFINITY, total[i][half] = 0;
  }

  // Scores become weights relative to the largest score so far; what was summed before is scaled alike.
  __device__ __forceinline__ void weigh(float (&score)[row_tiles][columns / 8][4], float scale_log2) {
#pragma unroll
    for (int i = 0; i < row_tiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float most = largest[i][half];
#pragma unroll
        for (int j = 0; j < columns / 8; ++j)
          most = fmaxf(most, fmaxf(score[i][j][2 * half], score[i][j][2 * half + 1]));
        most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, 1));
        most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, 2));
        const float base = most == -INFINITY ? 0.0F : most * scale_log2;  // nothing seen yet: all weights 0
        const float keep = exp2_fast(fmaf(largest[i][half], scale_log2, -base));
        largest[i][half] = most;
        float sum = total[i][half] * keep;
#pragma unroll
        for (int j = 0; j < columns / 8; ++j)
#pragma unroll
          for (int e = 2 * half; e < 2 * half + 2; ++e)
            sum += score[i][j][e] = exp2_fast(fmaf(score[i][j][e], scale_log2, -base));
        total[i][half] = sum;
#pragma unroll
        for (int j = 0; j < dim / 8; ++j) output[i][j][2 * half] *= keep, output[i][j][2 * half + 1] *= keep;
      }
  }

  // Divides by the totals, and writes log sum exp: lse is row 0 of the warp, rows_left rows from there exist.
  __device__ __forceinline__ void finish(float* lse, int64_t stride, int rows_left, float scale) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int i = 0; i < row_tiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float sum = total[i][half];
        sum += __shfl_xor_sync(kAllLanes, sum, 1);
        sum += __shfl_xor_sync(kAllLanes, sum, 2);
        const float inverse = sum > 0 ? 1.0F / sum : 0.0F;
#pragma unroll
        for (int j = 0; j < dim / 8; ++j)
          output[i][j][2 * half] *= inverse, output[i][j][2 * half + 1] *= inverse;
        const int row = 16 * i + lane / 4 + 8 * half;
        if (lane % 4 == 0 && row < rows_left)
          lse[row * stride] = sum > 0 ? largest[i][half] * scale + logf(sum) : 0.0F;
      }
  }
};

template <class T, int dim>
__global__ void __launch_bounds__(kAttentionThreads, 2)
    forward_mma_kernel(T* o_NHd, float* lse_NH, const T* q_NHd, const T* k_NGd, const T* v,
                       const int32_t* first_BT, AttentionShape s) {
  using Tile = ForwardTile<T, dim>;
  constexpr int keys = Tile::kKeys, rows = Tile::kRowTiles;
  T* const q_tile = dynamic_shared<T>();
  T* const stages = q_tile + Tile::kQueries * Tile::kStride;
  const int head = static_cast<int>(blockIdx.x), kv_head = head / (s.heads / s.kv_heads);
  const int64_t sequence = int64_t{blockIdx.y} * s.length;                          // its first token
  const int query = static_cast<int>(gridDim.z - 1 - blockIdx.z) * Tile::kQueries;  // the longest work first
  const int32_t* const first_T = first_BT + sequence;
  const int64_t stride = int64_t{s.heads} * dim, kv_stride = int64_t{s.kv_heads} * dim;
  const int64_t at = row_offset(sequence + query, s.heads, head, dim);
  const auto copy_keys = [&](int key, int stage) {
    T* const to = stages + stage * Tile::kStageElements;
    const int64_t from = row_offset(sequence + key, s.kv_heads, kv_head, dim);
    copy_tile<keys, dim, kAttentionThreads, true>(to, k_NGd + from, kv_stride, s.length - key, dim);
    copy_tile<keys, dim, kAttentionThreads, true>(
        to + keys * Tile::kStride, v + v_offset(sequence + key, s, kv_head), s.v_stride, s.length - key, dim);
  };

  const KeyRange range = visible_keys(first_T, query, Tile::kQueries, s.length);
  const int begin = range.begin / keys * keys;
  copy_tile<Tile::kQueries, dim, kAttentionThreads, true>(q_tile, q_NHd + at, stride, s.length - query, dim);
  if (begin < range.end) copy_keys(begin, 0);
  cp_async_commit();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp_row = static_cast<int>(threadIdx.x) / 32 * Tile::kWarpRows;
  int first[rows][2];
#pragma unroll
  for (int i = 0; i < 2 * rows; ++i) {
    const int t = query + warp_row + 8 * i + lane / 4;
    first[i / 2][i % 2] = t < s.length && first_T[t] >= 0 ? first_T[t] : kSeesNothing;
  }
  OnlineSoftmax<rows, keys, dim> softmax;
  for (int key = begin, stage = 0; key < range.end; key += keys, stage ^= 1) {
    cp_async_wait<0>();
    __syncthreads();  // these keys have arrived for all; the other stage is used up
    if (key + keys < range.end) copy_keys(key + keys, stage ^ 1);
    cp_async_commit();
    const T* const k_tile = stages + stage * Tile::kStageElements;
    float score[rows][keys / 8][4];
    multiply_rows<rows, keys, dim>(score, q_tile, warp_row, k_tile, 0);
    if (key < range.all_from || key + keys > query + 1)
      mask_scores<rows, keys>(score, [&](int i, int j, int e) {
        const int row = query + warp_row + 16 * i + lane / 4 + e / 2 * 8;
        const int column = key + 8 * j + 2 * (lane % 4) + e % 2;
        return column <= row && column >= first[i][e / 2];
      });
    softmax.weigh(score, s.scale * kLog2E);
    add_weighted_rows<rows, keys, dim>(softmax.output, score, k_tile + keys * Tile::kStride, 0);
  }
  cp_async_wait<0>();
  __syncthreads();
  softmax.finish(lse_NH + (sequence + query + warp_row) * s.heads + head, s.heads,
                 s.length - query - warp_row, s.scale);
  write_rows<rows, dim>(o_NHd + at, stride, s.length - query, q_tile, warp_row, softmax.output);
}

}  // namespace moe::gpu
