// SPDX-License-Identifier: MIT
// Attention backward without matrix units, as attention_rows.cuh does forward: a warp a query for dq, a warp
// a key for dk and dv; formulas in attention_backward_mma.cuh.
#pragma once

#include <cstdint>

#include "gpu/attention_statistics.cuh"
#include "gpu/portable/attention_rows.cuh"

namespace moe::gpu {

// p and ds of one score q k with do v.
struct ScoreGradient {
  float p, ds;
};
__device__ __forceinline__ ScoreGradient score_gradient(float qk, float dov, float lse, float delta,
                                                        float scale) {
  const float p = exp2f(qk * (scale * kLog2E) - lse);
  return {p, p * (dov - delta) * scale};
}

template <class T, bool wide>
__global__ void __launch_bounds__(32 * kRowWarps, 4)
    dq_rows_kernel(T* dq_NHd, const T* do_NHd, const T* q_NHd, const T* k_NGd, const T* values,
                   Statistics statistics, AttentionShape s) {
  __shared__ float q_rows[kRowWarps][kMaxDim], do_rows[kRowWarps][kMaxDim], weights[kRowWarps][kChunk];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t row = int64_t{blockIdx.x} * kRowWarps + warp;
  if (row >= int64_t{s.batch} * s.length * s.heads) return;
  const int head = static_cast<int>(row % s.heads), kv_head = head / (s.heads / s.kv_heads);
  const int64_t token = row / s.heads;
  const int b = static_cast<int>(token / s.length), t = static_cast<int>(token % s.length);
  const int first = statistics.first_BT[statistics.at(b, 1, 0, t)];
  const int64_t at = statistics.at(b, s.heads, head, t), stride = int64_t{s.kv_heads} * s.dim;
  const int64_t sequence = row_offset(int64_t{b} * s.length, s.kv_heads, kv_head, s.dim);
  float *const q = q_rows[warp], *const dout = do_rows[warp], *const weight = weights[warp];
  read_row(q, q_NHd + row * s.dim, s.dim);
  read_row(dout, do_NHd + row * s.dim, s.dim);
  __syncwarp();
  float dq[kLaneColumns] = {};
  for (int key = first; key <= t; key += kChunk) {
    const int count = min(t + 1 - key, kChunk);
    const T* const k = k_NGd + sequence + key * stride;
    const T* const v = values + v_offset(int64_t{b} * s.length + key, s, kv_head);
    for (int i = lane; i < count; i += 32)
      weight[i] = rounded<T>(score_gradient(dot<wide>(q, k + i * stride, s.dim),
                                            dot<wide>(dout, v + i * int64_t{s.v_stride}, s.dim),
                                            statistics.lse_BHT[at], statistics.delta_BHT[at], s.scale)
                                 .ds);
    __syncwarp();
    add_rows(dq, weight, k, stride, count, s.dim);
    __syncwarp();  // before the next chunk's weights
  }
  write_row(dq_NHd + row * s.dim, dq, s.dim);
}

template <class T, bool wide>
__global__ void __launch_bounds__(32 * kRowWarps, 4)
    dkv_rows_kernel(T* dk_NGd, T* value_gradients, const T* do_NHd, const T* q_NHd, const T* k_NGd,
                    const T* values, const int32_t* doc_start_BT, Statistics statistics, AttentionShape s) {
  __shared__ float k_rows[kRowWarps][kMaxDim], v_rows[kRowWarps][kMaxDim];
  __shared__ float weights[kRowWarps][kChunk], gradients[kRowWarps][kChunk];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t row = int64_t{blockIdx.x} * kRowWarps + warp;
  if (row >= int64_t{s.batch} * s.length * s.kv_heads) return;
  const int kv_head = static_cast<int>(row % s.kv_heads), group = s.heads / s.kv_heads;
  const int64_t token = row / s.kv_heads, stride = int64_t{s.heads} * s.dim;
  const int b = static_cast<int>(token / s.length), t = static_cast<int>(token % s.length);
  const bool seen = doc_start_BT[token] >= 0;
  const int document = seen ? document_end(doc_start_BT + int64_t{b} * s.length, t, s.length) : t;
  const int end = last_seen(document, t, statistics.window);
  float *const k = k_rows[warp], *const v = v_rows[warp];
  float *const weight = weights[warp], *const gradient = gradients[warp];
  read_row(k, k_NGd + row * s.dim, s.dim);
  read_row(v, values + v_offset(token, s, kv_head), s.dim);
  __syncwarp();
  float dk[kLaneColumns] = {}, dv[kLaneColumns] = {};
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head)
    for (int query = t; query < end; query += kChunk) {
      const int count = min(end - query, kChunk);
      const int64_t from = row_offset(int64_t{b} * s.length + query, s.heads, head, s.dim);
      const int64_t at = statistics.at(b, s.heads, head, query);
      for (int i = lane; i < count; i += 32) {
        const ScoreGradient score = score_gradient(
            dot<wide>(k, q_NHd + from + i * stride, s.dim), dot<wide>(v, do_NHd + from + i * stride, s.dim),
            statistics.lse_BHT[at + i], statistics.delta_BHT[at + i], s.scale);
        weight[i] = rounded<T>(score.p);
        gradient[i] = rounded<T>(score.ds);
      }
      __syncwarp();
      add_rows(dv, weight, do_NHd + from, stride, count, s.dim);
      add_rows(dk, gradient, q_NHd + from, stride, count, s.dim);
      __syncwarp();  // before the next chunk's weights
    }
  write_row(dk_NGd + row * s.dim, dk, s.dim);
  write_row(value_gradients + v_offset(token, s, kv_head), dv, s.dim);
}

}  // namespace moe::gpu
