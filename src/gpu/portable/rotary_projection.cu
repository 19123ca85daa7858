// SPDX-License-Identifier: MIT
// Rotary positions with a norm over the whole projection of queries or keys, or with none. A block takes a
// token, a thread every so many-th pair (c, c + d/2) of it: a mean over all heads needs the whole block.
// Written for clarity: a pair is read again once the mean is known, from the cache.
#include <algorithm>

#include "gpu/block_reduce.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"
#include "gpu/portable/column_sums.cuh"
#include "gpu/portable/rotary_projection.h"

namespace moe::gpu {
namespace {

constexpr int kThreads = 128;

// A token's queries or keys: where they begin in the packed row with how much between heads, how many there
// are, and the norm's weight [count dim], null where there is none.
struct Projection {
  int first, stride, count, dim;
  const float* w;

  __device__ int pairs() const { return count * (dim / 2); }
  // Of pair p: its first element in the packed row, and in rows without space between heads.
  __device__ int packed(int p) const { return first + p / (dim / 2) * stride + p % (dim / 2); }
  __device__ int dense(int p) const { return p / (dim / 2) * dim + p % (dim / 2); }
};

struct Layout {
  Projection queries, keys;
  int packed, norms;
};

struct Pair {
  float a, b;
};

template <class T>
__device__ __forceinline__ Pair load_pair(const T* first, int half) {
  return {to_float(first[0]), to_float(first[half])};
}
template <class T>
__device__ __forceinline__ void store_pair(T* first, int half, const Pair& x) {
  first[0] = from_float<T>(x.a), first[half] = from_float<T>(x.b);
}
__device__ __forceinline__ Pair turned(const Pair& x, float cosine, float sine) {
  return {x.a * cosine - x.b * sine, x.b * cosine + x.a * sine};
}

struct Table {
  const float* rope_Td;
  const int32_t* position_N;
  int64_t rows;

  // The angle of pair p at a token: cosine and sine. A position outside the table makes its token NaN, which
  // ends the run.
  __device__ Pair angle(int64_t token, int p, int dim) const {
    const int position = position_N[token], half = dim / 2;
    if (position < 0 || position >= rows) return {NAN, NAN};
    return load_pair(rope_Td + int64_t{position} * dim + p % half, half);
  }
};

template <class T>
__device__ void forward_projection(T* out, float* rstd, const T* packed, const Projection& part,
                                   const Table& table, int64_t token, float eps) {
  const int half = part.dim / 2;
  float r = 1;
  if (part.w != nullptr) {
    float squares = 0;
    for (int p = static_cast<int>(threadIdx.x); p < part.pairs(); p += kThreads) {
      const Pair x = load_pair(packed + part.packed(p), half);
      squares += x.a * x.a + x.b * x.b;
    }
    r = 1.0F / sqrtf(block_sum(squares) / static_cast<float>(part.count * part.dim) + eps);
    if (threadIdx.x == 0) *rstd = r;
  }
  for (int p = static_cast<int>(threadIdx.x); p < part.pairs(); p += kThreads) {
    Pair x = load_pair(packed + part.packed(p), half);
    if (part.w != nullptr) {
      const Pair w = load_pair(part.w + part.dense(p), half);
      x = {w.a * (x.a * r), w.b * (x.b * r)};
    }
    const Pair angle = table.angle(token, p, part.dim);
    store_pair(out + part.dense(p), half, turned(x, angle.a, angle.b));
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(T* q_NHd, T* k_NGd, float* rstd_NJ, const T* packed_NP, Table table, Layout layout,
                   float eps) {
  const int64_t token = blockIdx.x;
  const T* const packed = packed_NP + token * layout.packed;
  float* const rstd = rstd_NJ + token * layout.norms;
  const Projection &queries = layout.queries, &keys = layout.keys;
  forward_projection(q_NHd + token * queries.count * queries.dim, rstd, packed, queries, table, token, eps);
  forward_projection(k_NGd + token * keys.count * keys.dim, rstd + layout.norms / 2, packed, keys, table,
                     token, eps);
}

// dw [count dim]: each thread adds to its own pairs.
template <class T>
__device__ void backward_projection(T* dpacked, float* dw, const T* dy, const T* packed, const float* rstd,
                                    const Projection& part, const Table& table, int64_t token) {
  const int half = part.dim / 2;
  const auto gradient = [&](int p) {
    const Pair angle = table.angle(token, p, part.dim);
    return turned(load_pair(dy + part.dense(p), half), angle.a, -angle.b);
  };
  if (part.w == nullptr) {
    for (int p = static_cast<int>(threadIdx.x); p < part.pairs(); p += kThreads)
      store_pair(dpacked + part.packed(p), half, gradient(p));
    return;
  }
  const float r = *rstd;
  float sum = 0;
  for (int p = static_cast<int>(threadIdx.x); p < part.pairs(); p += kThreads) {
    const Pair g = gradient(p), x = load_pair(packed + part.packed(p), half),
               w = load_pair(part.w + part.dense(p), half);
    dw[part.dense(p)] += g.a * (x.a * r), dw[part.dense(p) + half] += g.b * (x.b * r);
    sum += g.a * w.a * (x.a * r) + g.b * w.b * (x.b * r);
  }
  const float mean = block_sum(sum) / static_cast<float>(part.count * part.dim);
  for (int p = static_cast<int>(threadIdx.x); p < part.pairs(); p += kThreads) {
    const Pair g = gradient(p), x = load_pair(packed + part.packed(p), half),
               w = load_pair(part.w + part.dense(p), half);
    store_pair(dpacked + part.packed(p), half,
               {r * (g.a * w.a - x.a * r * mean), r * (g.b * w.b - x.b * r * mean)});
  }
}

// parts: [blocks, sums], of the gradients of wq and wk; sums = 0 without a norm.
template <class T>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(T* dpacked_NP, float* parts, const T* dq_NHd, const T* dk_NGd, const T* packed_NP,
                    const float* rstd_NJ, Table table, Layout layout, int sums, int64_t tokens) {
  const Projection &queries = layout.queries, &keys = layout.keys;
  const int of_queries = queries.count * queries.dim;
  float* const dw = parts + int64_t{blockIdx.x} * sums;
  for (int c = static_cast<int>(threadIdx.x); c < sums; c += kThreads) dw[c] = 0;
  __syncthreads();
  for (int64_t token = blockIdx.x; token < tokens; token += gridDim.x) {
    const T* const packed = packed_NP + token * layout.packed;
    T* const dpacked = dpacked_NP + token * layout.packed;
    const float* const rstd = rstd_NJ + token * layout.norms;
    backward_projection(dpacked, dw, dq_NHd + token * of_queries, packed, rstd, queries, table, token);
    backward_projection(dpacked, dw + of_queries, dk_NGd + token * keys.count * keys.dim, packed,
                        rstd + layout.norms / 2, keys, table, token);
  }
}

Layout layout_of(const Heads& heads, const Tensor& wq, const Tensor& wk) {
  const auto H = static_cast<int>(heads.query), G = static_cast<int>(heads.kv),
             d = static_cast<int>(heads.dim);
  return {{0, static_cast<int>(heads.query_stride()), H, d, pointer<float>(wq)},
          {static_cast<int>(heads.keys()), d, G, d, pointer<float>(wk)},
          static_cast<int>(heads.packed()),
          static_cast<int>(heads.norms())};
}

}  // namespace

void rotate_projections(cudaStream_t stream, QkNormRopeForward op) {
  const Table table{pointer<float>(op.rope_Td), pointer<int32_t>(op.position_N), op.rope_Td.dim(0)};
  with_activation(op.packed_NP.dtype(), [&]<class T>() {
    launch(stream, forward_kernel<T>, {blocks(op.packed_NP.dim(0)), kThreads}, pointer<T>(op.q_NHd),
           pointer<T>(op.k_NGd), pointer<float>(op.rstd_NJ), pointer<T>(op.packed_NP), table,
           layout_of(op.heads, op.wq_d, op.wk_d), op.eps);
  });
}

void rotate_projections_backward(cudaStream_t stream, QkNormRopeBackward op, const Workspace& workspace,
                                 int64_t most_blocks) {
  const int64_t of_queries = op.heads.query_norm(), sums = of_queries + op.heads.key_norm();
  const int64_t n = op.packed_NP.dim(0), grid = std::min(n, most_blocks);
  float* const parts = workspace.carve().take<float>(grid * sums);
  const Table table{pointer<float>(op.rope_Td), pointer<int32_t>(op.position_N), op.rope_Td.dim(0)};
  with_activation(op.packed_NP.dtype(), [&]<class T>() {
    launch(stream, backward_kernel<T>, {blocks(grid), kThreads}, pointer<T>(op.dpacked_NP), parts,
           pointer<T>(op.dq_NHd), pointer<T>(op.dk_NGd), pointer<T>(op.packed_NP), pointer<float>(op.rstd_NJ),
           table, layout_of(op.heads, op.wq_d, op.wk_d), static_cast<int>(sums), n);
  });
  if (sums == 0) return;
  add_columns(stream, pointer<float>(op.dwq_d), parts, grid, of_queries, sums);
  add_columns(stream, pointer<float>(op.dwk_d), parts + of_queries, grid, op.heads.key_norm(), sums);
}

}  // namespace moe::gpu
