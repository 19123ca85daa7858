// SPDX-License-Identifier: MIT
// attention_cached: the new keys and values go into the cache, then the warps of a block share the keys of a
// row when there are few rows.
#include <utility>

#include "gpu/attention_rows.cuh"
#include "gpu/gate.h"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "ops/contracts/attention.h"

namespace moe::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kFewRows = 8192;  // fewer than warps on a large GPU

// `count` tokens of `width` elements of each sequence to their place in the caches of `capacity` tokens.
template <class T>
__global__ void append_kernel(T* k_cache, T* v_cache, const T* k, const T* v, int64_t v_stride,
                              const int32_t* start_B, int64_t count, int64_t width, int64_t total,
                              int64_t capacity) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= total) return;
  const int64_t sequence = i / (count * width), token = i / width % count, place = start_B[sequence] + token;
  if (place < 0 || place >= capacity) return;  // a caller's mistake must not write elsewhere
  const int64_t to = (sequence * capacity + place) * width + i % width;
  k_cache[to] = k[i];
  v_cache[to] = v[i / width * v_stride + i % width];
}

}  // namespace

void GpuOps::attention_cached(Tensor y_NHd, Tensor k_cache_BSGd, Tensor v_cache_BSGd, const Tensor& q_NHd,
                              const Tensor& k_NGd, const Tensor& packed_NP, const Tensor& start_B) {
  const Heads heads =
      contracts::attention_cached(y_NHd, k_cache_BSGd, v_cache_BSGd, q_NHd, k_NGd, packed_NP, start_B);
  if (y_NHd.numel() == 0) return;
  const AttentionShape s(q_NHd, k_NGd, heads.kv * heads.dim, k_cache_BSGd.dim(0));
  CHECK(s.dim <= kMaxDim, q_NHd.describe());
  const int64_t capacity = k_cache_BSGd.dim(1), width = k_NGd.dim(1) * k_NGd.dim(2);
  const int split = q_NHd.dim(0) * s.heads < kFewRows ? kRowWarps : 1;
  const RowsShape rows{q_NHd.dim(0), s.length, start_B.as<int32_t>(), capacity, split};
  with_activation(q_NHd.dtype(), [&]<class T>() {
    launch(stream_, append_kernel<T>, {blocks(ceil_div(k_NGd.numel(), kThreads)), kThreads},
           pointer<T>(k_cache_BSGd), pointer<T>(v_cache_BSGd), pointer<T>(k_NGd),
           pointer<T>(packed_NP) + heads.values(), heads.packed(), start_B.as<int32_t>(), s.length, width,
           k_NGd.numel(), capacity);
    const bool wide = vector_width<T>(s.dim, k_cache_BSGd.data()) > 1;
    launch(stream_, wide ? attention_rows_kernel<T, true> : attention_rows_kernel<T, false>,
           {blocks(ceil_div(rows.tokens * s.heads, kRowWarps / split)), 32 * kRowWarps}, pointer<T>(y_NHd),
           static_cast<float*>(nullptr), pointer<T>(q_NHd), pointer<T>(std::as_const(k_cache_BSGd)),
           pointer<T>(std::as_const(v_cache_BSGd)), static_cast<const int32_t*>(nullptr), s, rows);
  });
  apply_gate(stream_, y_NHd, y_NHd, packed_NP, heads);
}

}  // namespace moe::gpu
