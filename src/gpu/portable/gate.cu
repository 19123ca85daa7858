// SPDX-License-Identifier: MIT
// The gate on the attention output. Some lanes side by side take one head of one token.
#include "gpu/portable/gate.h"

#include "gpu/block_reduce.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"
#include "gpu/sigmoid.cuh"

namespace moe::gpu {
namespace {

constexpr int kThreads = 256;

// Which head of all tokens' this thread's lanes take, where its gate is, and the columns: body(c) for each
// piece of `width` elements from column c.
template <int lanes, int width>
struct Part {
  int64_t head, gate;
  bool inside;

  __device__ __forceinline__ Part(int64_t tokens, int heads, int d, int packed) {
    const int64_t index = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / lanes;
    inside = index < tokens * heads;
    head = inside ? index : 0;
    const int64_t token = head / heads;
    gate = token * packed + (2 * (head - token * heads) + 1) * d;
  }
  template <class Body>
  __device__ __forceinline__ void for_each(int d, Body body) const {
    for (int c = static_cast<int>(threadIdx.x) % lanes * width; inside && c < d; c += lanes * width) body(c);
  }
};

template <class T, int lanes, int width>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(T* y_NHd, const T* packed_NP, int64_t tokens, int heads, int d, int packed) {
  const Part<lanes, width> part(tokens, heads, d, packed);
  part.for_each(d, [&](int c) {
    const auto gate = load<width>(packed_NP + part.gate + c);
    auto y = load<width>(y_NHd + part.head * d + c);
#pragma unroll
    for (int j = 0; j < width; ++j) y.v[j] = from_float<T>(to_float(y.v[j]) * sigmoid(to_float(gate.v[j])));
    store(y_NHd + part.head * d + c, y);
  });
}

template <class T>
struct Gradients {
  T* do_NHd;
  float* delta_NH;
  T* dpacked_NP;
  const T *dy_NHd, *y_NHd, *packed_NP;
};

// d_o may be dy.
template <class T, int lanes, int width>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(Gradients<T> x, int64_t tokens, int heads, int d, int packed) {
  const Part<lanes, width> part(tokens, heads, d, packed);
  float delta = 0;
  part.for_each(d, [&](int c) {
    const int64_t at = part.head * d + c;
    auto dy = load<width>(x.dy_NHd + at);
    const auto y = load<width>(x.y_NHd + at);
    auto gate = load<width>(x.packed_NP + part.gate + c);
#pragma unroll
    for (int j = 0; j < width; ++j) {
      const float s = sigmoid(to_float(gate.v[j])), g = to_float(dy.v[j]), value = to_float(y.v[j]);
      dy.v[j] = from_float<T>(g * s);
      gate.v[j] = from_float<T>(g * value * (1.0F - s));
      delta = fmaf(g, value, delta);
    }
    store(x.do_NHd + at, dy);
    store(x.dpacked_NP + part.gate + c, gate);
  });
  delta = lanes_sum<lanes>(delta);
  if (part.inside && threadIdx.x % lanes == 0) x.delta_NH[part.head] = delta;
}

// Without a gate: delta = sum of dy * y over the head.
template <class T, int lanes, int width>
__global__ void __launch_bounds__(kThreads)
    row_products_kernel(float* delta_NH, const T* dy_NHd, const T* y_NHd, int64_t rows, int d) {
  const int64_t index = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / lanes;
  const int64_t row = index < rows ? index : 0;
  float delta = 0;
  for (int c = static_cast<int>(threadIdx.x) % lanes * width; c < d; c += lanes * width) {
    const auto dy = load<width>(dy_NHd + row * d + c), y = load<width>(y_NHd + row * d + c);
#pragma unroll
    for (int j = 0; j < width; ++j) delta = fmaf(to_float(dy.v[j]), to_float(y.v[j]), delta);
  }
  delta = lanes_sum<lanes>(delta);
  if (index < rows && threadIdx.x % lanes == 0) delta_NH[row] = delta;
}

// Calls body.operator()<lanes, width>() with vectors where rows and addresses allow, and as few lanes as
// reach over a head.
template <class T, class Body, class... Pointers>
void with_lanes(int64_t d, Body body, Pointers... pointers) {
  constexpr int wide = 16 / static_cast<int>(sizeof(T));
  if (vector_width<T>(d, pointers...) == 1) return body.template operator()<32, 1>();
  if (d <= 8 * wide) return body.template operator()<8, wide>();
  if (d <= 16 * wide) return body.template operator()<16, wide>();
  body.template operator()<32, wide>();
}

void row_products(cudaStream_t stream, Tensor& delta_NH, const Tensor& dy_NHd, const Tensor& y_NHd) {
  const int64_t rows = delta_NH.numel(), d = y_NHd.dim(2);
  with_activation(y_NHd.dtype(), [&]<class T>() {
    with_lanes<T>(
        d,
        [&]<int lanes, int width>() {
          launch(stream, row_products_kernel<T, lanes, width>,
                 {blocks(ceil_div(rows * lanes, kThreads)), kThreads}, pointer<float>(delta_NH),
                 pointer<T>(dy_NHd), pointer<T>(y_NHd), rows, static_cast<int>(d));
        },
        dy_NHd.data(), y_NHd.data());
  });
}

}  // namespace

void apply_gate(cudaStream_t stream, Tensor& y_NHd, const Tensor& packed_NP, const Heads& heads) {
  if (y_NHd.numel() == 0) return;
  const int64_t n = packed_NP.dim(0);
  with_activation(packed_NP.dtype(), [&]<class T>() {
    with_lanes<T>(
        heads.dim,
        [&]<int lanes, int width>() {
          launch(stream, forward_kernel<T, lanes, width>,
                 {blocks(ceil_div(n * heads.query * lanes, kThreads)), kThreads}, pointer<T>(y_NHd),
                 pointer<T>(packed_NP), n, static_cast<int>(heads.query), static_cast<int>(heads.dim),
                 static_cast<int>(heads.packed()));
        },
        y_NHd.data(), packed_NP.data());
  });
}

void GpuOps::gate_backward(GateBackward op) {
  op.check();
  if (op.do_NHd.numel() == 0) return;
  const int64_t n = op.packed_NP.dim(0);
  if (!op.heads.gated) return row_products(stream_, op.delta_NH, op.dy_NHd, op.y_NHd);
  with_activation(op.packed_NP.dtype(), [&]<class T>() {
    const Gradients<T> x{pointer<T>(op.do_NHd), pointer<float>(op.delta_NH), pointer<T>(op.dpacked_NP),
                         pointer<T>(op.dy_NHd), pointer<T>(op.y_NHd),        pointer<T>(op.packed_NP)};
    with_lanes<T>(
        op.heads.dim,
        [&]<int lanes, int width>() {
          launch(stream_, backward_kernel<T, lanes, width>,
                 {blocks(ceil_div(n * op.heads.query * lanes, kThreads)), kThreads}, x, n,
                 static_cast<int>(op.heads.query), static_cast<int>(op.heads.dim),
                 static_cast<int>(op.heads.packed()));
        },
        x.do_NHd, x.dpacked_NP, x.dy_NHd, x.y_NHd, x.packed_NP);
  });
}

}  // namespace moe::gpu
