// SPDX-License-Identifier: MIT
// QK-norm and rotary positions over the packed rows [q_h | gate_h] per query head, then keys, then values. Eight lanes
// take one head: lane i the pairs (c, c + d/2) for c = 4i..4i+3, 4i+32.., so that both halves of a pair are in one lane.
#include "ops/contracts/rotary.h"

#include <algorithm>

#include "gpu/block_reduce.cuh"
#include "gpu/column_sums.cuh"
#include "gpu/dynamic_shared.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"

namespace moe::gpu {
namespace {

constexpr int kLanes = 8;  // of a head
constexpr int kThreads = 128;
constexpr int kGroups = kThreads / kLanes;
constexpr int kBlocksPerProcessor = 8;

struct Layout {
  int query, kv, dim;
  __device__ int packed() const { return 2 * (query + kv) * dim; }
  // Where head j of queries, then keys, then values begins in a packed row.
  __device__ int offset(int j) const { return j < query ? 2 * j * dim : (query + j) * dim; }
};

// A token's heads outside the packed row: q, k and v, or their gradients.
template <class T>
struct Parts {
  T *q_NHd, *k_NGd, *v_NGd;
  __device__ T* head(const Layout& layout, int64_t token, int j) const {
    if (j < layout.query) return q_NHd + (token * layout.query + j) * layout.dim;
    if (j < layout.query + layout.kv) return k_NGd + (token * layout.kv + j - layout.query) * layout.dim;
    return v_NGd + (token * layout.kv + j - layout.query - layout.kv) * layout.dim;
  }
};

struct Table {
  const float *wq_d, *wk_d, *rope_Td;
  const int32_t* position_N;
  int64_t rows;
};

__device__ __forceinline__ float sum_of_lanes(float value) {
#pragma unroll
  for (int lanes = kLanes / 2; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kAllLanes, value, lanes);
  return value;
}

// What one lane holds of a head: `steps` times `width` pairs. Elements past the head's half are zero.
template <int width, int steps>
struct Pairs {
  float a[steps * width] = {}, b[steps * width] = {};  // first and second halves

  // body(i, c): pairs c .. c + width - 1 of the head are a[i], b[i] ...
  template <class Body>
  __device__ static void for_each(int half, Body body) {
    const int lane = static_cast<int>(threadIdx.x) % kLanes;
#pragma unroll
    for (int s = 0; s < steps; ++s) {
      const int c = (s * kLanes + lane) * width;
      if (c < half) body(s * width, c);
    }
  }
  template <class T>
  __device__ void load_from(const T* head, int half) {
    for_each(half, [&](int i, int c) {
      const auto x = load<width>(head + c), y = load<width>(head + half + c);
#pragma unroll
      for (int j = 0; j < width; ++j) a[i + j] = to_float(x.v[j]), b[i + j] = to_float(y.v[j]);
    });
  }
  template <class T>
  __device__ void store_to(T* head, int half) const {
    for_each(half, [&](int i, int c) {
      Vec<T, width> x, y;
#pragma unroll
      for (int j = 0; j < width; ++j) x.v[j] = from_float<T>(a[i + j]), y.v[j] = from_float<T>(b[i + j]);
      store(head + c, x);
      store(head + half + c, y);
    });
  }
  // (a, b) turned by `sign` times the angles [cos | sin].
  __device__ void turn(const float* angles, int half, float sign) {
    for_each(half, [&](int i, int c) {
      const auto cosine = load<width>(angles + c), sine = load<width>(angles + half + c);
#pragma unroll
      for (int j = 0; j < width; ++j) {
        const float x = a[i + j], y = b[i + j], s = sign * sine.v[j];
        a[i + j] = x * cosine.v[j] - y * s;
        b[i + j] = y * cosine.v[j] + x * s;
      }
    });
  }
  __device__ void scale(float factor) {
#pragma unroll
    for (int i = 0; i < steps * width; ++i) a[i] *= factor, b[i] *= factor;
  }
  __device__ void multiply(const float* w, int half) {
    Pairs other;
    other.load_from(w, half);
#pragma unroll
    for (int i = 0; i < steps * width; ++i) a[i] *= other.a[i], b[i] *= other.b[i];
  }
  __device__ float dot(const Pairs& other) const {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < steps * width; ++i) sum += a[i] * other.a[i] + b[i] * other.b[i];
    return sum_of_lanes(sum);
  }
};

// A position outside the table makes its token NaN, which ends the run.
__device__ __forceinline__ const float* angles_of(const Table& table, int64_t token, int dim) {
  const int position = table.position_N[token];
  return position >= 0 && position < table.rows ? table.rope_Td + int64_t{position} * dim : nullptr;
}

// A block a token.
template <class T, int width, int steps>
__global__ void forward_kernel(Parts<T> out, float* rstd_NJ, const T* packed_NP, Table table, Layout layout,
                               float eps) {
  const int64_t token = blockIdx.x;
  const int group = static_cast<int>(threadIdx.x) / kLanes, half = layout.dim / 2;
  const int normed = layout.query + layout.kv, heads = normed + layout.kv;
  const float* const angles = angles_of(table, token, layout.dim);
  for (int first = 0; first < heads; first += kGroups) {  // all lanes of a warp take part in its sums
    const int j = first + group;
    Pairs<width, steps> x;
    if (j < heads) x.load_from(packed_NP + token * layout.packed() + layout.offset(j), half);
    const float rstd = 1.0F / sqrtf(x.dot(x) / static_cast<float>(layout.dim) + eps);
    if (j >= heads) continue;
    if (j < normed) {
      x.scale(angles == nullptr ? NAN : rstd);
      x.multiply(j < layout.query ? table.wq_d : table.wk_d, half);
      if (angles != nullptr) x.turn(angles, half, 1);
      if (threadIdx.x % kLanes == 0) rstd_NJ[token * normed + j] = rstd;
    }
    x.store_to(out.head(layout, token, j), half);
  }
}

// The block's sums of the weights' gradients, group after group, to row `blockIdx.x` of the parts.
template <int width, int steps>
__device__ void store_sums(float* parts, const Pairs<width, steps>& dwq, const Pairs<width, steps>& dwk,
                           int dim) {
  float* const sums = dynamic_shared<float>();  // [2 * dim]
  const int group = static_cast<int>(threadIdx.x) / kLanes, half = dim / 2;
  for (int turn = 0; turn < kGroups; ++turn) {
    if (group == turn)
      Pairs<width, steps>::for_each(half, [&](int i, int c) {
#pragma unroll
        for (int j = 0; j < width; ++j) {
          const float values[] = {dwq.a[i + j], dwq.b[i + j], dwk.a[i + j], dwk.b[i + j]};
#pragma unroll
          for (int k = 0; k < 4; ++k) {
            float& sum = sums[k * half + c + j];
            sum = turn == 0 ? values[k] : sum + values[k];
          }
        }
      });
    __syncthreads();
  }
  for (int c = static_cast<int>(threadIdx.x); c < 2 * dim; c += kThreads)
    parts[int64_t{blockIdx.x} * 2 * dim + c] = sums[c];
}

template <class T, int width, int steps>
__global__ void backward_kernel(T* dpacked_NP, float* parts, Parts<const T> dy, const T* packed_NP,
                                const float* rstd_NJ, Table table, Layout layout, int64_t tokens) {
  const int group = static_cast<int>(threadIdx.x) / kLanes, half = layout.dim / 2;
  const int normed = layout.query + layout.kv, heads = normed + layout.kv;
  Pairs<width, steps> dwq, dwk;
  for (int64_t token = blockIdx.x; token < tokens; token += gridDim.x) {
    const float* const angles = angles_of(table, token, layout.dim);
    const int64_t row = token * layout.packed();
    for (int first = 0; first < heads; first += kGroups) {
      const int j = first + group;
      Pairs<width, steps> g, x;
      if (j < heads) g.load_from(dy.head(layout, token, j), half);
      if (j < normed) {
        const bool is_query = j < layout.query;
        const float rstd = rstd_NJ[token * normed + j];
        x.load_from(packed_NP + row + layout.offset(j), half);
        x.scale(rstd);
        if (angles != nullptr) g.turn(angles, half, -1);
        g.scale(angles == nullptr ? NAN : 1.0F);
#pragma unroll
        for (int i = 0; i < steps * width; ++i) {
          const float da = g.a[i] * x.a[i], db = g.b[i] * x.b[i];
          dwq.a[i] += is_query ? da : 0, dwq.b[i] += is_query ? db : 0;
          dwk.a[i] += is_query ? 0 : da, dwk.b[i] += is_query ? 0 : db;
        }
        g.multiply(is_query ? table.wq_d : table.wk_d, half);
        g.scale(rstd);  // rstd * (dy w - normed * mean): both terms carry it
      }
      const float mean = g.dot(x) / static_cast<float>(layout.dim);
#pragma unroll
      for (int i = 0; i < steps * width; ++i)
        g.a[i] -= x.a[i] * mean, g.b[i] -= x.b[i] * mean;  // values: x = 0
      if (j < heads) g.store_to(dpacked_NP + row + layout.offset(j), half);
    }
  }
  store_sums(parts, dwq, dwk, layout.dim);
}

// Calls body.operator()<width, steps>(): vectors of 4 where every address allows it, whatever the type, so that sums
// have one order; then as many steps as half a head needs.
template <class Body, class... Pointers>
void with_pairs(int64_t dim, Body body, Pointers... pointers) {
  const int64_t half = dim / 2;
  const bool wide = half % 4 == 0 && ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
  if (!wide) return body.template operator()<1, contracts::kMaxHeadDim / 2 / kLanes>();
  if (half <= 4 * kLanes) return body.template operator()<4, 1>();
  if (half <= 8 * kLanes) return body.template operator()<4, 2>();
  return body.template operator()<4, 4>();
}

Layout layout_of(const Heads& heads) {
  return {static_cast<int>(heads.query), static_cast<int>(heads.kv), static_cast<int>(heads.dim)};
}

}  // namespace

void GpuOps::qk_norm_rope_forward(Tensor q_NHd, Tensor k_NGd, Tensor v_NGd, Tensor rstd_NJ,
                                  const Tensor& packed_NP, const Tensor& wq_d, const Tensor& wk_d,
                                  const Tensor& rope_Td, const Tensor& position_N, Heads heads, float eps) {
  contracts::check_qk_norm_rope_forward(q_NHd, k_NGd, v_NGd, rstd_NJ, packed_NP, wq_d, wk_d, rope_Td,
                                        position_N, heads);
  const int64_t n = packed_NP.dim(0);
  const Table table{pointer<float>(wq_d), pointer<float>(wk_d), pointer<float>(rope_Td),
                    pointer<int32_t>(position_N), rope_Td.dim(0)};
  if (n == 0) return;
  with_activation(packed_NP.dtype(), [&]<class T>() {
    const Parts<T> out{pointer<T>(q_NHd), pointer<T>(k_NGd), pointer<T>(v_NGd)};
    const auto run = [&]<int width, int steps>() {
      launch(stream_, forward_kernel<T, width, steps>, {blocks(n), kThreads}, out, pointer<float>(rstd_NJ),
             pointer<T>(packed_NP), table, layout_of(heads), eps);
    };
    with_pairs(heads.dim, run, out.q_NHd, out.k_NGd, out.v_NGd, packed_NP.data(), wq_d.data(), wk_d.data(),
               rope_Td.data());
  });
}

void GpuOps::qk_norm_rope_backward(Tensor dpacked_NP, Tensor dwq_d, Tensor dwk_d, const Tensor& dq_NHd,
                                   const Tensor& dk_NGd, const Tensor& dv_NGd, const Tensor& packed_NP,
                                   const Tensor& wq_d, const Tensor& wk_d, const Tensor& rope_Td,
                                   const Tensor& position_N, const Tensor& rstd_NJ, Heads heads) {
  contracts::check_qk_norm_rope_backward(dpacked_NP, dwq_d, dwk_d, dq_NHd, dk_NGd, dv_NGd, packed_NP, wq_d,
                                         wk_d, rope_Td, position_N, rstd_NJ, heads);
  const int64_t n = packed_NP.dim(0), width_of_sums = 2 * heads.dim;
  const Table table{pointer<float>(wq_d), pointer<float>(wk_d), pointer<float>(rope_Td),
                    pointer<int32_t>(position_N), rope_Td.dim(0)};
  if (n == 0) return;
  const int64_t grid = std::min<int64_t>(n, int64_t{kBlocksPerProcessor} * processors_);
  float* const parts = workspace_.carve().take<float>(grid * width_of_sums);
  with_activation(packed_NP.dtype(), [&]<class T>() {
    const Parts<const T> dy{pointer<T>(dq_NHd), pointer<T>(dk_NGd), pointer<T>(dv_NGd)};
    const auto run = [&]<int width, int steps>() {
      launch(stream_, backward_kernel<T, width, steps>,
             {blocks(grid), kThreads, sizeof(float) * static_cast<size_t>(width_of_sums)},
             pointer<T>(dpacked_NP), parts, dy, pointer<T>(packed_NP), pointer<float>(rstd_NJ), table,
             layout_of(heads), n);
    };
    with_pairs(heads.dim, run, dpacked_NP.data(), dy.q_NHd, dy.k_NGd, dy.v_NGd, packed_NP.data(), wq_d.data(),
               wk_d.data(), rope_Td.data());
  });
  add_columns(stream_, pointer<float>(dwq_d), parts, grid, heads.dim, width_of_sums);
  add_columns(stream_, pointer<float>(dwk_d), parts + heads.dim, grid, heads.dim, width_of_sums);
}

}  // namespace moe::gpu
