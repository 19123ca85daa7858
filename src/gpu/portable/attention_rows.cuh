// SPDX-License-Identifier: MIT
// Attention without matrix units, for f32, for head widths that the other kernels do not have, and for
// generation: a row (token, head) by one warp, or by several that share its keys. A lane computes the scores
// of keys lane, lane + 32, ... of a chunk; the chunk's weights go through shared memory, and each lane sums
// its own columns of the values.
#pragma once

#include <cstdint>

#include "gpu/attention_shape.h"
#include "gpu/attention_statistics.cuh"
#include "gpu/block_reduce.cuh"
#include "gpu/numbers.cuh"

namespace moe::gpu {

inline constexpr int kMaxDim = 256, kLaneColumns = kMaxDim / 32, kChunk = 128;
inline constexpr int kRowWarps = 4;  // of a block

// <x, y> over the head, x in f32 from shared memory. wide: y by 16 bytes.
template <bool wide, class T>
__device__ __forceinline__ float dot(const float* x, const T* y, int dim) {
  constexpr int width = wide ? 16 / static_cast<int>(sizeof(T)) : 1;
  float sum = 0;
#pragma unroll 2
  for (int c = 0; c < dim; c += width) {
    const auto part = load<width>(y + c);
#pragma unroll
    for (int j = 0; j < width; ++j) sum = fmaf(x[c + j], to_float(part.v[j]), sum);
  }
  return sum;
}

// The lane's columns of  sum += sum_i weight[i] y[i],  y with `stride` from row to row.
template <class T>
__device__ __forceinline__ void add_rows(float (&sum)[kLaneColumns], const float* weight, const T* y,
                                         int64_t stride, int count, int dim) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int i = 0; i < count; ++i)
#pragma unroll
    for (int c = 0; c < kLaneColumns; ++c)
      if (c * 32 + lane < dim) sum[c] = fmaf(weight[i], to_float(y[i * stride + c * 32 + lane]), sum[c]);
}

template <class T>
__device__ __forceinline__ void read_row(float* to, const T* row, int dim) {
  for (int c = static_cast<int>(threadIdx.x) % 32; c < dim; c += 32) to[c] = to_float(row[c]);
}

template <class T>
__device__ __forceinline__ void write_row(T* to, const float (&sum)[kLaneColumns], int dim) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int c = 0; c < kLaneColumns; ++c)
    if (c * 32 + lane < dim) to[c * 32 + lane] = from_float<T>(sum[c]);
}

// The value that from_float<T> would store.
template <class T>
__device__ __forceinline__ float rounded(float x) {
  return to_float(from_float<T>(x));
}

// Rows of queries against keys that lie `keys_per_sequence` tokens apart from sequence to sequence. Token i
// of a sequence stands at start + i and sees keys up to itself, from first_N (none when negative; null: as
// `window` says).
struct RowsShape {
  int64_t tokens;          // all
  int64_t count;           // tokens of a sequence
  const int32_t* start_B;  // position of each sequence's first; null: 0
  int64_t keys_per_sequence;
  int split;   // warps to a row: 1, 2 or 4
  int window;  // where first keys are not given: how many a token sees, 0: all
};

// The running softmax of one warp: columns of the output, and in units of log2.
struct WarpSoftmax {
  float output[kLaneColumns] = {};
  float largest = -INFINITY, total = 0;

  // Over keys begin, ..., begin + count - 1, at most kChunk; k and v with `stride` and `v_stride` from key to
  // key.
  // weight: room for as many.
  template <bool wide, class T>
  __device__ __forceinline__ void add(const float* q, const T* k, const T* v, int64_t stride,
                                      int64_t v_stride, int count, int dim, float scale_log2, float* weight) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    float score[kChunk / 32], most = largest;
#pragma unroll
    for (int i = 0; i < kChunk / 32; ++i) {
      const int key = 32 * i + lane;
      score[i] = key < count ? scale_log2 * dot<wide>(q, k + key * stride, dim) : -INFINITY;
      most = fmaxf(most, score[i]);
    }
    most = warp_max(most);
    const float keep = exp2f(largest - most);
    largest = most;
    total *= keep;
#pragma unroll
    for (float& x : output) x *= keep;
    __syncwarp();  // the last chunk's weights have been read
#pragma unroll
    for (int i = 0; i < kChunk / 32; ++i) {
      const float p = exp2f(score[i] - most);
      total += p;
      weight[32 * i + lane] = rounded<T>(p);
    }
    __syncwarp();
    add_rows(output, weight, v, v_stride, count, dim);
  }
};

// What the warps of a row hand to the first of them.
struct RowShared {
  float q[kRowWarps][kMaxDim], weight[kRowWarps][kChunk];
  float output[kRowWarps][kMaxDim], largest[kRowWarps], total[kRowWarps];
};

// A block does kRowWarps / split rows. lse_NH may be null.
template <class T, bool wide>
__global__ void __launch_bounds__(32 * kRowWarps, 4)
    attention_rows_kernel(T* o_NHd, float* lse_NH, const T* q_NHd, const T* k, const T* v,
                          const int32_t* first_N, AttentionShape s, RowsShape rows) {
  __shared__ RowShared shared;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int part = warp % rows.split;
  const int64_t row = int64_t{blockIdx.x} * (kRowWarps / rows.split) + warp / rows.split;
  const bool exists = row < rows.tokens * s.heads;
  const int64_t token = exists ? row / s.heads : 0, sequence = token / rows.count;
  const int head = static_cast<int>(row % s.heads), kv_head = head / (s.heads / s.kv_heads);
  const int64_t start = exists && rows.start_B != nullptr ? rows.start_B[sequence] : 0;
  const int64_t place = start + token % rows.count;  // of the token among its keys
  const int64_t begin =
      first_N != nullptr ? first_N[token] : first_key(0, static_cast<int>(place), rows.window);
  const int64_t end = exists && begin >= 0 ? place + 1 : begin;
  const int64_t stride = int64_t{s.kv_heads} * s.dim;
  const int64_t keys = row_offset(sequence * rows.keys_per_sequence, s.kv_heads, kv_head, s.dim);
  const int64_t values = v_offset(sequence * rows.keys_per_sequence, s, kv_head);

  if (exists) read_row(shared.q[warp], q_NHd + row * s.dim, s.dim);
  __syncwarp();
  WarpSoftmax softmax;
  for (int64_t key = begin + part * kChunk; key < end; key += rows.split * kChunk)
    softmax.add<wide>(shared.q[warp], k + keys + key * stride, v + values + key * s.v_stride, stride,
                      s.v_stride, static_cast<int>(min(end - key, int64_t{kChunk})), s.dim, s.scale * kLog2E,
                      shared.weight[warp]);
  const float total = warp_sum(softmax.total);
  if (lane == 0) shared.largest[warp] = softmax.largest, shared.total[warp] = total;
#pragma unroll
  for (int c = 0; c < kLaneColumns; ++c) shared.output[warp][c * 32 + lane] = softmax.output[c];
  __syncthreads();
  if (part != 0 || !exists) return;

  float largest = -INFINITY, all = 0, sum[kLaneColumns] = {};
  for (int i = warp; i < warp + rows.split; ++i) largest = fmaxf(largest, shared.largest[i]);
  for (int i = warp; i < warp + rows.split && largest > -INFINITY; ++i) {
    const float keep = exp2f(shared.largest[i] - largest);
    all += keep * shared.total[i];
#pragma unroll
    for (int c = 0; c < kLaneColumns; ++c) sum[c] += keep * shared.output[i][c * 32 + lane];
  }
#pragma unroll
  for (float& x : sum) x = all > 0 ? x / all : 0.0F;
  write_row(o_NHd + row * s.dim, sum, s.dim);
  if (lse_NH != nullptr && lane == 0) lse_NH[row] = all > 0 ? largest * kLn2 + logf(all) : 0.0F;
}

}  // namespace moe::gpu
