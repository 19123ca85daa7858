// SPDX-License-Identifier: MIT
// QK-norm and rotary positions over the queries and keys of the packed rows. A warp takes a token; some of
// its lanes side by side take one head: lane i the pairs (c, c + d/2) for a vector of columns c, so that both
// halves of a pair are in one lane, and the angles of these columns serve all heads. A norm over the whole
// projection, and none, are in rotary_projection.cu.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "gpu/block_reduce.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"
#include "gpu/portable/column_sums.cuh"
#include "gpu/portable/rotary_projection.h"

namespace moe::gpu {
namespace {

constexpr int kWarps = 4;  // of a block
constexpr int kThreads = 32 * kWarps;
constexpr int kBlocksPerSm = 4;  // of the backward kernel

struct Layout {
  int query, kv, dim, query_stride;
  __device__ int keys() const { return query * query_stride; }
  __device__ int packed() const { return keys() + 2 * kv * dim; }
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
    return lanes_sum<lanes>(value);
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

// The angles of a position. One outside the table makes its token NaN, which ends the run.
template <class S>
__device__ __forceinline__ Pairs<S> angles_of(const Table& table, int position, int dim) {
  const bool inside = position >= 0 && position < table.rows;
  Pairs<S> angles;
  angles.load_from(table.rope_Td + (inside ? int64_t{position} : 0) * dim, dim / 2);
  if (!inside) angles.scale(NAN);
  return angles;
}

// A token's heads of one kind: where they begin in the packed row with how much between them, and how many
// there are.
struct Kind {
  int first, stride, count;
};
__device__ __forceinline__ Kind queries_of(const Layout& layout) {
  return {0, layout.query_stride, layout.query};
}
__device__ __forceinline__ Kind keys_of(const Layout& layout) {
  return {layout.keys(), layout.dim, layout.kv};
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
  const Pairs<S> angles = angles_of<S>(table, table.position_N[token], layout.dim);
  forward_heads<S>(q_NHd + token * layout.query * layout.dim, rstd, packed, queries_of(layout), table.wq_d,
                   angles, layout.dim, eps);
  forward_heads<S>(k_NGd + token * layout.kv * layout.dim, rstd + layout.query, packed, keys_of(layout),
                   table.wk_d, angles, layout.dim, eps);
}

template <class T>
struct Gradients {
  T* dpacked_NP;
  const T *dq_NHd, *dk_NGd, *packed_NP;
  const float* rstd_NJ;
};

// How often a warp must look until it has seen all heads of a kind.
template <class S>
__host__ __device__ constexpr int passes(int heads) {
  return (heads + S::heads - 1) / S::heads;
}

// A warp of the backward kernel takes the same heads of every so many-th token: queries or keys, so that one
// weight and the sums of its gradient stay in registers, and so few of them that the next token's can be on
// their way while it works on these.
template <class S>
struct Share {
  bool queries;
  Kind kind;
  int head;  // of this lane; kind.count or more: none
  int64_t token, step;

  __device__ Share(const Layout& layout, int warp, int64_t tokens) {
    const int of_queries = passes<S>(layout.query), shares = of_queries + passes<S>(layout.kv);
    const int64_t all = int64_t{gridDim.x} * kWarps / shares, index = int64_t{blockIdx.x} * kWarps + warp;
    const int share = static_cast<int>(index % shares);
    queries = share < of_queries;
    kind = queries ? queries_of(layout) : keys_of(layout);
    head = (queries ? share : share - of_queries) * S::heads + S::head();
    step = all;
    token = index / shares < all ? index / shares : tokens;  // warps over have nothing to do
  }
};

// A vector of a lane as it came from memory: in whole words, since of 16-bit elements each would take a
// register, and would be taken apart, and so waited for, at once.
template <class T, int width>
struct Words {
  using Word = std::conditional_t<width * sizeof(T) % 4 == 0, uint32_t, T>;
  Vec<Word, width* static_cast<int>(sizeof(T)) / static_cast<int>(sizeof(Word))> words;

  __device__ __forceinline__ void load_from(const T* p) {
    words = *reinterpret_cast<const decltype(words)*>(p);
  }
  __device__ __forceinline__ void to_floats(float* x) const {
    Vec<T, width> elements;
    memcpy(&elements, &words, sizeof(elements));
#pragma unroll
    for (int i = 0; i < width; ++i) x[i] = to_float(elements.v[i]);
  }
};

// What a lane reads of a token.
template <class T, class S>
struct Loaded {
  using Part = Words<T, S::width>;
  Part g[2 * S::steps], x[2 * S::steps];
  float rstd;
  int position;

  __device__ __forceinline__ void load_from(const Gradients<T>& from, const Layout& layout,
                                            const Table& table, const Share<S>& share, int64_t token) {
    position = table.position_N[token];
    if (share.head >= share.kind.count) return;
    const int half = layout.dim / 2;
    const T* const dy =
        (share.queries ? from.dq_NHd : from.dk_NGd) + (token * share.kind.count + share.head) * layout.dim;
    const T* const packed =
        from.packed_NP + token * layout.packed() + share.kind.first + share.head * share.kind.stride;
    S::for_each(half, [&](int i, int c) {
      const int at = 2 * (i / S::width);
      g[at].load_from(dy + c), g[at + 1].load_from(dy + half + c);
      x[at].load_from(packed + c), x[at + 1].load_from(packed + half + c);
    });
    rstd = from.rstd_NJ[token * (layout.query + layout.kv) + (share.queries ? 0 : layout.query) + share.head];
  }
  // Of g or x.
  __device__ __forceinline__ static Pairs<S> floats(const Part (&from)[2 * S::steps], bool inside, int half) {
    Pairs<S> result;
    if (inside)
      S::for_each(half, [&](int i, int) {
        from[2 * (i / S::width)].to_floats(result.a + i);
        from[2 * (i / S::width) + 1].to_floats(result.b + i);
      });
    return result;
  }
};

// The block's sums of the weights' gradients over its warps, in order, to parts[0 .. dim) and parts[dim .. 2
// dim).
template <class S>
__device__ void store_sums(float* parts, Pairs<S> dw, bool queries, int dim) {
  __shared__ float sums[kWarps][kMaxHeadDim];
  __shared__ bool of_queries[kWarps];
  const int half = dim / 2, warp = static_cast<int>(threadIdx.x) / 32;
#pragma unroll
  for (int step = S::lanes; step < 32; step *= 2)
#pragma unroll
    for (int i = 0; i < S::pairs; ++i) {
      dw.a[i] += __shfl_xor_sync(kAllLanes, dw.a[i], step);
      dw.b[i] += __shfl_xor_sync(kAllLanes, dw.b[i], step);
    }
  if (S::head() == 0)
    S::for_each(half, [&](int i, int c) {
#pragma unroll
      for (int j = 0; j < S::width; ++j)
        sums[warp][c + j] = dw.a[i + j], sums[warp][half + c + j] = dw.b[i + j];
    });
  if (threadIdx.x % 32 == 0) of_queries[warp] = queries;
  __syncthreads();
  for (int c = static_cast<int>(threadIdx.x); c < 2 * dim; c += kThreads) {
    float sum = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w)
      if (of_queries[w] == (c < dim)) sum += sums[w][c % dim];
    parts[c] = sum;
  }
}

// parts: [blocks, 2, dim], of the gradients of wq and wk.
template <class T, class S>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    backward_kernel(Gradients<T> x, float* parts, Table table, Layout layout, int64_t tokens) {
  const Share<S> share(layout, static_cast<int>(threadIdx.x) / 32, tokens);
  const bool inside = share.head < share.kind.count;
  const int dim = layout.dim, half = dim / 2;
  Pairs<S> weight, dw;
  weight.load_from(share.queries ? table.wq_d : table.wk_d, half);
  Loaded<T, S> next{};
  if (share.token < tokens) next.load_from(x, layout, table, share, share.token);
  for (int64_t token = share.token; token < tokens; token += share.step) {
    Pairs<S> g = next.floats(next.g, inside, half), normed = next.floats(next.x, inside, half);
    const float r = inside ? next.rstd : 0;
    const Pairs<S> angles = angles_of<S>(table, next.position, dim);
    if (token + share.step < tokens) next.load_from(x, layout, table, share, token + share.step);
    normed.scale(r);
    g.turn(angles, -1);
    dw.add_product(g, normed);
    g.multiply(weight);
    g.scale(r);  // r * (dy w - normed * mean): both terms carry it
    const float mean = g.dot(normed) / static_cast<float>(dim);
#pragma unroll
    for (int i = 0; i < S::pairs; ++i) g.a[i] -= normed.a[i] * mean, g.b[i] -= normed.b[i] * mean;
    if (inside)
      g.store_to(x.dpacked_NP + token * layout.packed() + share.kind.first + share.head * share.kind.stride,
                 half);
  }
  store_sums(parts + int64_t{blockIdx.x} * 2 * dim, dw, share.queries, dim);
}

// Calls body.operator()<Shape>(): vectors of 16 bytes where every address allows it, and as few lanes as
// reach over half a head.
template <class T, class Body, class... Pointers>
void with_shape(int64_t dim, Body body, Pointers... pointers) {
  constexpr int width = 16 / static_cast<int>(sizeof(T));
  const int64_t half = dim / 2;
  if (vector_width<T>(half, pointers...) == 1)
    return body.template operator()<Shape<32, 1, kMaxHeadDim / 2 / 32>>();
  if (half <= 4 * width) return body.template operator()<Shape<4, width, 1>>();
  if (half <= 8 * width) return body.template operator()<Shape<8, width, 1>>();
  if (half <= 16 * width) return body.template operator()<Shape<16, width, 1>>();
  body.template operator()<Shape<32, width, 1>>();
}

Layout layout_of(const Heads& heads) {
  return {static_cast<int>(heads.query), static_cast<int>(heads.kv), static_cast<int>(heads.dim),
          static_cast<int>(heads.query_stride())};
}

Table table_of(const Tensor& wq_d, const Tensor& wk_d, const Tensor& rope_Td, const Tensor& position_N) {
  return {pointer<float>(wq_d), pointer<float>(wk_d), pointer<float>(rope_Td), pointer<int32_t>(position_N),
          rope_Td.dim(0)};
}

}  // namespace

void GpuOps::qk_norm_rope_forward(QkNormRopeForward op) {
  op.check();
  const int64_t n = op.packed_NP.dim(0);
  if (n == 0) return;
  if (op.heads.norm != QkNorm::head) return rotate_projections(stream_, op);
  with_activation(op.packed_NP.dtype(), [&]<class T>() {
    with_shape<T>(
        op.heads.dim,
        [&]<class S>() {
          launch(stream_, forward_kernel<T, S>, {blocks(ceil_div(n, kWarps)), kThreads}, pointer<T>(op.q_NHd),
                 pointer<T>(op.k_NGd), pointer<float>(op.rstd_NJ), pointer<T>(op.packed_NP),
                 table_of(op.wq_d, op.wk_d, op.rope_Td, op.position_N), layout_of(op.heads), op.eps, n);
        },
        op.q_NHd.data(), op.k_NGd.data(), op.packed_NP.data(), op.wq_d.data(), op.wk_d.data(),
        op.rope_Td.data());
  });
}

void GpuOps::qk_norm_rope_backward(QkNormRopeBackward op) {
  op.check();
  const int64_t n = op.packed_NP.dim(0), width_of_sums = 2 * op.heads.dim;
  if (n == 0) return;
  if (op.heads.norm != QkNorm::head)
    return rotate_projections_backward(stream_, op, workspace_, int64_t{kBlocksPerSm} * num_sms_);
  int64_t grid = 0;
  float* parts = nullptr;
  with_activation(op.packed_NP.dtype(), [&]<class T>() {
    const Gradients<T> x{pointer<T>(op.dpacked_NP), pointer<T>(op.dq_NHd), pointer<T>(op.dk_NGd),
                         pointer<T>(op.packed_NP), pointer<float>(op.rstd_NJ)};
    with_shape<T>(
        op.heads.dim,
        [&]<class S>() {
          const Layout layout = layout_of(op.heads);
          const int64_t shares = passes<S>(layout.query) + passes<S>(layout.kv);
          // A warp for each share at least.
          grid = std::max(ceil_div(shares, kWarps),
                          std::min(ceil_div(n * shares, kWarps), int64_t{kBlocksPerSm} * num_sms_));
          parts = workspace_.carve().take<float>(grid * width_of_sums);
          launch(stream_, backward_kernel<T, S>, {blocks(grid), kThreads}, x, parts,
                 table_of(op.wq_d, op.wk_d, op.rope_Td, op.position_N), layout, n);
        },
        x.dpacked_NP, x.dq_NHd, x.dk_NGd, x.packed_NP, op.wq_d.data(), op.wk_d.data(), op.rope_Td.data());
  });
  add_columns(stream_, pointer<float>(op.dwq_d), parts, grid, op.heads.dim, width_of_sums);
  add_columns(stream_, pointer<float>(op.dwk_d), parts + op.heads.dim, grid, op.heads.dim, width_of_sums);
}

}  // namespace moe::gpu
