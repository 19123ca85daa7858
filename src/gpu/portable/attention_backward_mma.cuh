// SPDX-License-Identifier: MIT
// Attention backward on matrix units. With p = exp(s - lse) and ds = p * (do v^T - delta) * scale:
//   dkv_mma_kernel: dv = p^T do, dk = ds^T q. A block takes a tile of keys and passes over the queries that
//   see them, of
//     all query heads of the kv head in turn;   dq_mma_kernel: dq = ds k. A block takes a tile of queries.
// Each computes p again, so that every sum stays in one block's registers, in a fixed order.
#pragma once

#include <cstdint>

#include "gpu/attention_statistics.cuh"
#include "gpu/dynamic_shared.cuh"
#include "gpu/portable/attention_mma.cuh"

namespace moe::gpu {

template <class T, int dim>
struct BackwardTile {
  static constexpr int kRowTiles = dim <= 64 ? 2 : 1;  // of 16 rows to a warp; what registers hold
  static constexpr int kWarpRows = 16 * kRowTiles, kRows = kAttentionWarps * kWarpRows;
  // Of a stage; of scores at once, a lane each.
  static constexpr int kColumns = WideNumber<T> ? 32 : 64, kPart = 32, kStride = kTileStride<T, dim>;
  static constexpr int kRowsElements = kRows * kStride;  // of one matrix of rows
  static constexpr int kMatrix = kColumns * kStride;     // of one matrix of a stage
  static constexpr int kStageElements = 2 * kMatrix + 3 * 4 * kColumns / int{sizeof(T)};  // and statistics
  static constexpr int kSharedBytes = (2 * kRowsElements + 2 * kStageElements) * int{sizeof(T)};
};

// Both passes have the scores s and dp = do v^T of a part in registers, -inf where a query does not see a
// key; `at` gives the statistics of an element's query. s becomes p, dp becomes ds.
template <int row_tiles, int columns, class At>
__device__ __forceinline__ void score_gradient(float (&s)[row_tiles][columns / 8][4],
                                               float (&dp)[row_tiles][columns / 8][4], float scale,
                                               const At& at) {
#pragma unroll
  for (int j = 0; j < columns / 8; ++j)
#pragma unroll
    for (int i = 0; i < row_tiles; ++i)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const QueryStatistics query = at(i, j, e);
        const float p = exp2_fast(fmaf(s[i][j][e], scale * kLog2E, -query.lse));
        s[i][j][e] = p;
        dp[i][j][e] = p * (dp[i][j][e] - query.delta) * scale;
      }
}

// The gradients of a tile of keys; what one block of dkv_mma_kernel holds.
template <class T, int dim>
struct KeyGradients {
  using Tile = BackwardTile<T, dim>;
  static constexpr int kRows = Tile::kRowTiles;
  float dk[kRows][dim / 8][4] = {}, dv[kRows][dim / 8][4] = {};

  // Adds what kPart queries from `query` give; `first_column` is the first of them in the stage.
  __device__ __forceinline__ void add(const T* k_tile, const T* v_tile, int warp_row, const T* stage,
                                      int first_column, int key, int query, float scale) {
    constexpr int part = Tile::kPart;
    const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
    const T *const q_tile = stage, *const do_tile = stage + Tile::kMatrix;
    const float* const lse = reinterpret_cast<const float*>(do_tile + Tile::kMatrix) + first_column;
    const float* const delta = lse + Tile::kColumns;
    const int* const first = reinterpret_cast<const int*>(delta + Tile::kColumns);
    const bool later = first[lane] > key && first[lane] != kSeesNothing;  // of padding, lse is infinite
    const bool masked = query < key + Tile::kWarpRows || __any_sync(kAllLanes, later) != 0;
    float s[kRows][part / 8][4], dp[kRows][part / 8][4];
    multiply_rows<kRows, part, dim>(s, k_tile, warp_row, q_tile, first_column);
    multiply_rows<kRows, part, dim>(dp, v_tile, warp_row, do_tile, first_column);
    if (masked)
      mask_scores<kRows, part>(s, [&](int i, int j, int e) {
        const int column = 8 * j + 2 * t + e % 2, row = key + 16 * i + g + e / 2 * 8;
        return row <= query + column && row >= first[column];
      });
    score_gradient<kRows, part>(s, dp, scale, [&](int, int j, int e) {
      const int column = 8 * j + 2 * t + e % 2;
      return QueryStatistics{lse[column], delta[column]};
    });
    add_weighted_rows<kRows, part, dim>(dv, s, do_tile, first_column);
    add_weighted_rows<kRows, part, dim>(dk, dp, q_tile, first_column);
  }
};

template <class T, int dim>
__global__ void __launch_bounds__(kAttentionThreads, 2)
    dkv_mma_kernel(T* dk_NGd, T* dv, const T* do_NHd, const T* q_NHd, const T* k_NGd, const T* v,
                   const int32_t* doc_start_BT, Statistics statistics, AttentionShape s) {
  using Tile = BackwardTile<T, dim>;
  constexpr int rows = Tile::kRows, columns = Tile::kColumns, threads = kAttentionThreads;
  T *const k_tile = dynamic_shared<T>(), *const v_tile = k_tile + Tile::kRowsElements;
  T* const stages = v_tile + Tile::kRowsElements;
  const int kv_head = static_cast<int>(blockIdx.x), group = s.heads / s.kv_heads;
  const int b = static_cast<int>(blockIdx.y);
  const int64_t sequence = int64_t{b} * s.length;
  const int key = static_cast<int>(blockIdx.z) * rows;  // the first keys are seen most, and start first
  const int stride = s.heads * dim, kv_stride = s.kv_heads * dim;
  const int64_t at = row_offset(sequence + key, s.kv_heads, kv_head, dim);
  const int64_t v_at = v_offset(sequence + key, s, kv_head);
  const int last_key = min(key + rows, s.length) - 1;
  const int end =
      last_seen(document_end(doc_start_BT + sequence, last_key, s.length), last_key, statistics.window);
  const auto copy_queries = [&](int head, int query, int stage) {
    T* const to = stages + stage * Tile::kStageElements;
    const int64_t from = row_offset(sequence + query, s.heads, head, dim);
    copy_tile<columns, dim, threads, true>(to, q_NHd + from, stride, s.length - query, dim);
    copy_tile<columns, dim, threads, true>(to + Tile::kMatrix, do_NHd + from, stride, s.length - query, dim);
    copy_statistics<columns>(to + 2 * Tile::kMatrix, statistics, b, s.heads, head, query);
  };

  copy_tile<rows, dim, threads, true>(k_tile, k_NGd + at, kv_stride, s.length - key, dim);
  copy_tile<rows, dim, threads, true>(v_tile, v + v_at, s.v_stride, s.length - key, dim);
  copy_queries(kv_head * group, key, 0);
  cp_async_commit();
  const int warp_row = static_cast<int>(threadIdx.x) / 32 * Tile::kWarpRows;
  KeyGradients<T, dim> gradients;
  int query = key, stage = 0;
  for (int head = kv_head * group; head < (kv_head + 1) * group; stage ^= 1) {
    cp_async_wait<0>();
    __syncthreads();  // these queries have arrived for all; the other stage is used up
    const bool last = query + columns >= end;  // of this head
    const int next_head = last ? head + 1 : head, next = last ? key : query + columns;
    if (next_head < (kv_head + 1) * group) copy_queries(next_head, next, stage ^ 1);
    cp_async_commit();
#pragma unroll 1
    for (int first = 0; first < columns; first += Tile::kPart)
      if (query + first + Tile::kPart > key + warp_row && query + first < end)
        gradients.add(k_tile, v_tile, warp_row, stages + stage * Tile::kStageElements, first, key + warp_row,
                      query + first, s.scale);
    head = next_head, query = next;
  }
  write_rows<Tile::kRowTiles, dim>(dk_NGd + at, kv_stride, s.length - key, k_tile, warp_row, gradients.dk);
  write_rows<Tile::kRowTiles, dim>(dv + v_at, s.v_stride, s.length - key, v_tile, warp_row, gradients.dv);
}

// dq of a warp's queries; what they need of the statistics: the lane's rows g and g + 8 of each tile of 16.
template <class T, int dim>
struct QueryGradients {
  using Tile = BackwardTile<T, dim>;
  static constexpr int kRows = Tile::kRowTiles;
  float dq[kRows][dim / 8][4] = {};
  float lse[kRows][2], delta[kRows][2];
  int first[kRows][2];

  __device__ __forceinline__ void read(const Statistics& statistics, int b, int heads, int head, int query) {
    const int64_t at = statistics.at(b, heads, head, query), first_at = statistics.at(b, 1, 0, query);
    const int g = static_cast<int>(threadIdx.x) % 32 / 4;
#pragma unroll
    for (int i = 0; i < 2 * kRows; ++i) {
      const int row = 8 * i + g;  // statistics go on to the end of the tile, and beyond it nothing is seen
      const bool inside = query + row < statistics.padded;
      lse[i / 2][i % 2] = inside ? statistics.lse_BHT[at + row] : INFINITY;
      delta[i / 2][i % 2] = inside ? statistics.delta_BHT[at + row] : 0.0F;
      first[i / 2][i % 2] = inside ? statistics.first_BT[first_at + row] : kSeesNothing;
    }
  }

  // Adds what kPart keys from `key` give, rows first_column, ... of the tiles.
  __device__ __forceinline__ void add(const T* q_tile, const T* do_tile, int warp_row, const T* k_tile,
                                      const T* v_tile, int first_column, int key, int query, bool masked,
                                      float scale) {
    constexpr int part = Tile::kPart;
    const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
    float s[kRows][part / 8][4], dp[kRows][part / 8][4];
    multiply_rows<kRows, part, dim>(s, q_tile, warp_row, k_tile, first_column);
    multiply_rows<kRows, part, dim>(dp, do_tile, warp_row, v_tile, first_column);
    if (masked)
      mask_scores<kRows, part>(s, [&](int i, int j, int e) {
        const int column = key + 8 * j + 2 * t + e % 2, row = query + 16 * i + g + e / 2 * 8;
        return column <= row && column >= first[i][e / 2];
      });
    score_gradient<kRows, part>(s, dp, scale, [&](int i, int, int e) {
      return QueryStatistics{lse[i][e / 2], delta[i][e / 2]};
    });
    add_weighted_rows<kRows, part, dim>(dq, dp, k_tile, first_column);
  }
};

template <class T, int dim>
__global__ void __launch_bounds__(kAttentionThreads, 2)
    dq_mma_kernel(T* dq_NHd, const T* do_NHd, const T* q_NHd, const T* k_NGd, const T* v,
                  Statistics statistics, AttentionShape s) {
  using Tile = BackwardTile<T, dim>;
  constexpr int rows = Tile::kRows, columns = Tile::kColumns, threads = kAttentionThreads;
  T *const q_tile = dynamic_shared<T>(), *const do_tile = q_tile + Tile::kRowsElements;
  T* const stages = do_tile + Tile::kRowsElements;
  const int head = static_cast<int>(blockIdx.x), kv_head = head / (s.heads / s.kv_heads);
  const int b = static_cast<int>(blockIdx.y);
  const int64_t sequence = int64_t{b} * s.length;
  const int query = static_cast<int>(gridDim.z - 1 - blockIdx.z) * rows;  // the longest work first
  const int stride = s.heads * dim, kv_stride = s.kv_heads * dim;
  const int64_t at = row_offset(sequence + query, s.heads, head, dim);
  const auto copy_keys = [&](int key, int stage) {
    T* const to = stages + stage * Tile::kStageElements;
    const int64_t from = row_offset(sequence + key, s.kv_heads, kv_head, dim);
    copy_tile<columns, dim, threads, true>(to, k_NGd + from, kv_stride, s.length - key, dim);
    copy_tile<columns, dim, threads, true>(to + Tile::kMatrix, v + v_offset(sequence + key, s, kv_head),
                                           s.v_stride, s.length - key, dim);
  };

  const KeyRange range = visible_keys(statistics.first_BT + statistics.at(b, 1, 0, 0), query, rows, s.length);
  const int begin = range.begin / columns * columns;
  copy_tile<rows, dim, threads, true>(q_tile, q_NHd + at, stride, s.length - query, dim);
  copy_tile<rows, dim, threads, true>(do_tile, do_NHd + at, stride, s.length - query, dim);
  if (begin < range.end) copy_keys(begin, 0);
  cp_async_commit();
  const int warp_row = static_cast<int>(threadIdx.x) / 32 * Tile::kWarpRows, own = query + warp_row;
  QueryGradients<T, dim> gradients;
  gradients.read(statistics, b, s.heads, head, own);
  for (int key = begin, stage = 0; key < range.end; key += columns, stage ^= 1) {
    cp_async_wait<0>();
    __syncthreads();  // these keys have arrived for all; the other stage is used up
    if (key + columns < range.end) copy_keys(key + columns, stage ^ 1);
    cp_async_commit();
    const T* const k_tile = stages + stage * Tile::kStageElements;
#pragma unroll 1
    for (int first = 0; first < columns; first += Tile::kPart) {
      const bool masked = key + first < range.all_from || key + first + Tile::kPart > own + 1;
      if (key + first < own + Tile::kWarpRows)
        gradients.add(q_tile, do_tile, warp_row, k_tile, k_tile + Tile::kMatrix, first, key + first, own,
                      masked, s.scale);
    }
  }
  cp_async_wait<0>();
  __syncthreads();
  write_rows<Tile::kRowTiles, dim>(dq_NHd + at, stride, s.length - query, q_tile, warp_row, gradients.dq);
}

}  // namespace moe::gpu
