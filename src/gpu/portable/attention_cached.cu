// SPDX-License-Identifier: MIT
// attention_cached: the new keys and values go into the cache, then the warps of a block share the keys of a
// row when there are few rows.
#include <utility>

#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/portable/attention_rows.cuh"
#include "gpu/portable/gate.h"

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

void GpuOps::attention_cached(AttentionCached op) {
  op.check();
  const Heads& heads = op.heads;
  if (op.y_NHd.numel() == 0) return;
  const AttentionShape s(op.q_NHd, op.k_NGd, heads.kv * heads.dim, op.k_cache_BSGd.dim(0));
  CHECK(s.dim <= kMaxDim, op.q_NHd.describe());
  const int64_t capacity = op.k_cache_BSGd.dim(1), width = op.k_NGd.dim(1) * op.k_NGd.dim(2);
  const int split = op.q_NHd.dim(0) * s.heads < kFewRows ? kRowWarps : 1;
  const RowsShape rows{op.q_NHd.dim(0), s.length, op.start_B.as<int32_t>(),
                       capacity,        split,    static_cast<int>(op.window)};
  with_activation(op.q_NHd.dtype(), [&]<class T>() {
    launch(stream_, append_kernel<T>, {blocks(ceil_div(op.k_NGd.numel(), kThreads)), kThreads},
           pointer<T>(op.k_cache_BSGd), pointer<T>(op.v_cache_BSGd), pointer<T>(op.k_NGd),
           pointer<T>(op.packed_NP) + heads.values(), heads.packed(), op.start_B.as<int32_t>(), s.length,
           width, op.k_NGd.numel(), capacity);
    const bool wide = vector_width<T>(s.dim, op.k_cache_BSGd.data()) > 1;
    launch(stream_, wide ? attention_rows_kernel<T, true> : attention_rows_kernel<T, false>,
           {blocks(ceil_div(rows.tokens * s.heads, kRowWarps / split)), 32 * kRowWarps}, pointer<T>(op.y_NHd),
           static_cast<float*>(nullptr), pointer<T>(op.q_NHd), pointer<T>(std::as_const(op.k_cache_BSGd)),
           pointer<T>(std::as_const(op.v_cache_BSGd)), static_cast<const int32_t*>(nullptr), s, rows);
  });
  if (heads.gated) apply_gate(stream_, op.y_NHd, op.packed_NP, heads);
}

}  // namespace moe::gpu
