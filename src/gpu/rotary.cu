// SPDX-License-Identifier: MIT
// QK-norm and rotary positions over the queries and keys of the packed rows. A warp takes a token; some of its lanes side by
// side take one head: lane i the pairs (c, c + d/2) for a vector of columns c, so that both halves of a pair are in one
// lane, and the angles of these columns serve all heads.
#include "ops/contracts/rotary.h"

#include <algorithm>

#include "gpu/block_reduce.cuh"
#include "gpu/column_sums.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"

namespace moe::gpu {
namespace {

constexpr int kWarps = 4;  // of a block
constexpr int kThreads = 32 * kWarps;
constexpr int kBlocksPerProcessor = 4;  // of the backward kernel

struct Layout {
  int query, kv, dim;
  __device__ int packed() const { return 2 * (query + kv) * dim; }
};

struct Table {
  const float *wq_d, *wk_d, *rope_Td;
  const int32_t* position_N;
  int64_t rows;
};

// How a head lies over lanes: `lanes` of them, each with `steps` times `width` pairs.
template <int lanes_, int width_, int steps_>
struct Shape {
  static constexpr int lanes = lanes_, width = width_, steps = steps_, pairs = width * steps;
  static constexpr int heads = 32 / lanes;  // of a warp at once

  __device__ static int head() { return static_cast<int>(threadIdx.x) % 32 / lanes; }
  // body(i, c): pairs c .. c + width - 1 of the head are elements i, ... of this lane.
  template <class Body>
  __device__ static void for_each(int half, Body body) {
    const int lane = static_cast<int>(threadIdx.x) % lanes;
#pragma unroll
    for (int s = 0; s < steps; ++s) {
      const int c = (s * lanes + lane) * width;
      if (c < half) body(s * width, c);
    }
  }
  __device__ static float sum(float value) {
#pragma unroll
    for (int step = lanes / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
    return value;
  }
};

// n consecutive elements to x, 16 bytes at once at most.
template <int n, class T>
__device__ __forceinline__ void load_floats(float* x, const T* from) {
  constexpr int step = n * sizeof(T) > 16 ? 16 / static_cast<int>(sizeof(T)) : n;
#pragma unroll
  for (int i = 0; i < n; i += step) {
    const auto part = load<step>(from + i);
#pragma unroll
    for (int j = 0; j < step; ++j) x[i + j] = to_float(part.v[j]);
  }
}

// What a lane holds of a head: elements of the first and of the second half. Those past the half are zero.
template <class S>
struct Pairs {
  float a[S::pairs] = {}, b[S::pairs] = {};

  template <class T>
  __device__ void load_from(const T* head, int half) {
    S::for_each(half, [&](int i, int c) {
      load_floats<S::width>(a + i, head + c);
      load_floats<S::width>(b + i, head + half + c);
    });
  }
  template <class T>
  __device__ void store_to(T* head, int half) const {
    S::for_each(half, [&](int i, int c) {
      Vec<T, S::width> x, y;
#pragma unroll
      for (int j = 0; j < S::width; ++j) x.v[j] = from_float<T>(a[i + j]), y.v[j] = from_float<T>(b[i + j]);
      store(head + c, x);
      store(head + half + c, y);
    });
  }
  // (a, b) turned by `sign` times the angles, whose a are cosines and b sines.
  __device__ void turn(const Pairs& angles, float sign) {
#pragma unroll
    for (int i = 0; i < S::pairs; ++i) {
      const float x = a[i], y = b[i], s = sign * angles.b[i];
      a[i] = x * angles.a[i] - y * s;
      b[i] = y * angles.a[i] + x * s;
    }
  }
  __device__ void scale(float factor) {
#pragma unroll
    for (int i = 0; i < S::pairs; ++i) a[i] *= factor, b[i] *= factor;
  }
  __device__ void multiply(const Pairs& other) {
#pragma unroll
    for (int i = 0; i < S::pairs; ++i) a[i] *= other.a[i], b[i] *= other.b[i];
  }
  __device__ void add_product(const Pairs& x, const Pairs& y) {
#pragma unroll
    for (int i = 0; i < S::pairs; ++i) a[i] += x.a[i] * y.a[i], b[i] += x.b[i] * y.b[i];
  }
  __device__ float dot(const Pairs& other) const {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < S::pairs; ++i) sum += a[i] * other.a[i] + b[i] * other.b[i];
    return S::sum(sum);
  }
};

// The angles of a token. A position outside the table makes its token NaN, which ends the run.
template <class S>
__device__ __forceinline__ Pairs<S> angles_of(const Table& table, int64_t token, int dim) {
  const int position = table.position_N[token];
  const bool inside = position >= 0 && position < table.rows;
  Pairs<S> angles;
  angles.load_from(table.rope_Td + (inside ? int64_t{position} : 0) * dim, dim / 2);
  if (!inside) angles.scale(NAN);
  return angles;
}

// A token's heads of one kind: where they begin in the packed row with how much between them, and how many there are.
struct Kind {
  int first, stride, count;
};
__device__ __forceinline__ Kind queries_of(const Layout& layout) {
  return {0, 2 * layout.dim, layout.query};
}
__device__ __forceinline__ Kind keys_of(const Layout& layout) {
  return {2 * layout.query * layout.dim, layout.dim, layout.kv};
}

// out: head 0 of the token; rstd: of head 0.
template <class S, class T>
__device__ __forceinline__ void forward_heads(T* out, float* rstd, const T* packed, const Kind& kind,
                                              const float* w, const Pairs<S>& angles, int dim, float eps) {
  const int half = dim / 2;
  Pairs<S> weight;
  weight.load_from(w, half);
#pragma unroll 2
  for (int first = 0; first < kind.count; first += S::heads) {  // all lanes take part in the sums
    const int j = first + S::head();
    Pairs<S> x;
    if (j < kind.count) x.load_from(packed + kind.first + j * kind.stride, half);
    const float r = 1.0F / sqrtf(x.dot(x) / static_cast<float>(dim) + eps);
    if (j >= kind.count) continue;
    x.scale(r);
    x.multiply(weight);
    x.turn(angles, 1);
    x.store_to(out + j * dim, half);
    if (threadIdx.x % S::lanes == 0) rstd[j] = r;
  }
}

template <class T, class S>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(T* q_NHd, T* k_NGd, float* rstd_NJ, const T* packed_NP, Table table, Layout layout,
                   float eps, int64_t tokens) {
  const int64_t token = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (token >= tokens) return;
  const T* const packed = packed_NP + token * layout.packed();
  float* const rstd = rstd_NJ + token * (layout.query + layout.kv);
  const Pairs<S> angles = angles_of<S>(table, token, layout.dim);
  forward_heads<S>(q_NHd + token * layout.query * layout.dim, rstd, packed, queries_of(layout), table.wq_d,
                   angles, layout.dim, eps);
  forward_heads<S>(k_NGd + token * layout.kv * layout.dim, rstd + layout.query, packed, keys_of(layout),
                   table.wk_d, angles, layout.dim, eps);
}

// dy: head 0 of the token.
template <class S, class T>
__device__ __forceinline__ void backward_heads(T* dpacked, Pairs<S>& dw, const T* dy, const T* packed,
                                               const float* rstd, const Kind& kind, const float* w,
                                               const Pairs<S>& angles, int dim) {
  const int half = dim / 2;
#pragma unroll 2
  for (int first = 0; first < kind.count; first += S::heads) {
    const int j = first + S::head();
    const int at = kind.first + j * kind.stride;
    Pairs<S> g, x, weight;
    float r = 0;
    if (j < kind.count) {
      g.load_from(dy + j * dim, half);
      x.load_from(packed + at, half);
      r = rstd[j];
    }
    weight.load_from(w, half);
    x.scale(r);
    g.turn(angles, -1);
    dw.add_product(g, x);
    g.multiply(weight);
    g.scale(r);  // r * (dy w - normed * mean): both terms carry it
    const float mean = g.dot(x) / static_cast<float>(dim);
#pragma unroll
    for (int i = 0; i < S::pairs; ++i) g.a[i] -= x.a[i] * mean, g.b[i] -= x.b[i] * mean;
    if (j < kind.count) g.store_to(dpacked + at, half);
  }
}

// The block's sums of a weight's gradient over its heads and warps, in order, to parts[0 .. dim).
template <class S>
__device__ void store_sums(float* parts, Pairs<S> dw, int dim) {
  __shared__ float sums[kWarps][contracts::kMaxHeadDim];
  const int half = dim / 2, warp = static_cast<int>(threadIdx.x) / 32;
#pragma unroll
  for (int step = S::lanes; step < 32; step *= 2)
#pragma unroll
    for (int i = 0; i < S::pairs; ++i) {
      dw.a[i] += __shfl_xor_sync(kAllLanes, dw.a[i], step);
      dw.b[i] += __shfl_xor_sync(kAllLanes, dw.b[i], step);
    }
  __syncthreads();
  if (S::head() == 0)
    S::for_each(half, [&](int i, int c) {
#pragma unroll
      for (int j = 0; j < S::width; ++j)
        sums[warp][c + j] = dw.a[i + j], sums[warp][half + c + j] = dw.b[i + j];
    });
  __syncthreads();
  for (int c = static_cast<int>(threadIdx.x); c < dim; c += kThreads) {
    float sum = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) sum += sums[w][c];
    parts[c] = sum;
  }
}

template <class T>
struct Gradients {
  T* dpacked_NP;
  const T *dq_NHd, *dk_NGd, *packed_NP;
  const float* rstd_NJ;
};

// parts: [blocks, 2, dim], of the gradients of wq and wk.
template <class T, class S>
__global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    backward_kernel(Gradients<T> x, float* parts, Table table, Layout layout, int64_t tokens) {
  Pairs<S> dwq, dwk;
  const int64_t step = int64_t{gridDim.x} * kWarps;
  for (int64_t token = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32; token < tokens; token += step) {
    const Pairs<S> angles = angles_of<S>(table, token, layout.dim);
    const int64_t row = token * layout.packed();
    const float* const rstd = x.rstd_NJ + token * (layout.query + layout.kv);
    backward_heads<S>(x.dpacked_NP + row, dwq, x.dq_NHd + token * layout.query * layout.dim,
                      x.packed_NP + row, rstd, queries_of(layout), table.wq_d, angles, layout.dim);
    backward_heads<S>(x.dpacked_NP + row, dwk, x.dk_NGd + token * layout.kv * layout.dim, x.packed_NP + row,
                      rstd + layout.query, keys_of(layout), table.wk_d, angles, layout.dim);
  }
  float* const out = parts + int64_t{blockIdx.x} * 2 * layout.dim;
  store_sums(out, dwq, layout.dim);
  store_sums(out + layout.dim, dwk, layout.dim);
}

// Calls body.operator()<Shape>(): vectors of 16 bytes where every address allows it, and as few lanes as reach over half
// a head.
template <class T, class Body, class... Pointers>
void with_shape(int64_t dim, Body body, Pointers... pointers) {
  constexpr int width = 16 / static_cast<int>(sizeof(T));
  const int64_t half = dim / 2;
  if (vector_width<T>(half, pointers...) == 1)
    return body.template operator()<Shape<32, 1, contracts::kMaxHeadDim / 2 / 32>>();
  if (half <= 4 * width) return body.template operator()<Shape<4, width, 1>>();
  if (half <= 8 * width) return body.template operator()<Shape<8, width, 1>>();
  if (half <= 16 * width) return body.template operator()<Shape<16, width, 1>>();
  body.template operator()<Shape<32, width, 1>>();
}

Layout layout_of(const Heads& heads) {
  return {static_cast<int>(heads.query), static_cast<int>(heads.kv), static_cast<int>(heads.dim)};
}

Table table_of(const Tensor& wq_d, const Tensor& wk_d, const Tensor& rope_Td, const Tensor& position_N) {
  return {pointer<float>(wq_d), pointer<float>(wk_d), pointer<float>(rope_Td), pointer<int32_t>(position_N),
          rope_Td.dim(0)};
}

}  // namespace

void GpuOps::qk_norm_rope_forward(Tensor q_NHd, Tensor k_NGd, Tensor rstd_NJ, const Tensor& packed_NP,
                                  const Tensor& wq_d, const Tensor& wk_d, const Tensor& rope_Td,
                                  const Tensor& position_N, Heads heads, float eps) {
  contracts::check_qk_norm_rope_forward(q_NHd, k_NGd, rstd_NJ, packed_NP, wq_d, wk_d, rope_Td, position_N,
                                        heads);
  const int64_t n = packed_NP.dim(0);
  if (n == 0) return;
  with_activation(packed_NP.dtype(), [&]<class T>() {
    with_shape<T>(
        heads.dim,
        [&]<class S>() {
          launch(stream_, forward_kernel<T, S>, {blocks(ceil_div(n, kWarps)), kThreads}, pointer<T>(q_NHd),
                 pointer<T>(k_NGd), pointer<float>(rstd_NJ), pointer<T>(packed_NP),
                 table_of(wq_d, wk_d, rope_Td, position_N), layout_of(heads), eps, n);
        },
        q_NHd.data(), k_NGd.data(), packed_NP.data(), wq_d.data(), wk_d.data(), rope_Td.data());
  });
}

void GpuOps::qk_norm_rope_backward(Tensor dpacked_NP, Tensor dwq_d, Tensor dwk_d, const Tensor& dq_NHd,
                                   const Tensor& dk_NGd, const Tensor& packed_NP, const Tensor& wq_d,
                                   const Tensor& wk_d, const Tensor& rope_Td, const Tensor& position_N,
                                   const Tensor& rstd_NJ, Heads heads) {
  contracts::check_qk_norm_rope_backward(dpacked_NP, dwq_d, dwk_d, dq_NHd, dk_NGd, packed_NP, wq_d, wk_d,
                                         rope_Td, position_N, rstd_NJ, heads);
  const int64_t n = packed_NP.dim(0), width_of_sums = 2 * heads.dim;
  if (n == 0) return;
  const int64_t grid = std::min(ceil_div(n, kWarps), int64_t{kBlocksPerProcessor} * processors_);
  float* const parts = workspace_.carve().take<float>(grid * width_of_sums);
  with_activation(packed_NP.dtype(), [&]<class T>() {
    const Gradients<T> x{pointer<T>(dpacked_NP), pointer<T>(dq_NHd), pointer<T>(dk_NGd),
                         pointer<T>(packed_NP), pointer<float>(rstd_NJ)};
    with_shape<T>(
        heads.dim,
        [&]<class S>() {
          launch(stream_, backward_kernel<T, S>, {blocks(grid), kThreads}, x, parts,
                 table_of(wq_d, wk_d, rope_Td, position_N), layout_of(heads), n);
        },
        x.dpacked_NP, x.dq_NHd, x.dk_NGd, x.packed_NP, wq_d.data(), wk_d.data(), rope_Td.data());
  });
  add_columns(stream_, pointer<float>(dwq_d), parts, grid, heads.dim, width_of_sums);
  add_columns(stream_, pointer<float>(dwk_d), parts + heads.dim, grid, heads.dim, width_of_sums);
}

}  // namespace moe::gpu
