// SPDX-License-Identifier: MIT
// The gate on the attention output: a block a token.
#include "ops/contracts/gate.h"

#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"
#include "gpu/sigmoid.cuh"

namespace moe::gpu {
namespace {

constexpr int kThreads = 128;

// Where the gate of element c of a token's heads (H * d) is in its packed row: [q_h (d) | gate_h (d)] per head.
__device__ __forceinline__ int gate_column(int c, int d) {
  return c + (c / d + 1) * d;
}

// y may be o.
template <class T, int width>
__global__ void forward_kernel(T* y_NC, const T* o_NC, const T* packed_NP, int columns, int d, int packed) {
  const int64_t row = int64_t{blockIdx.x} * columns;
  const T* const gate = packed_NP + int64_t{blockIdx.x} * packed;
#pragma unroll 2
  for (int c = static_cast<int>(threadIdx.x) * width; c < columns; c += kThreads * width) {
    const auto g = load<width>(gate + gate_column(c, d));
    auto v = load<width>(o_NC + row + c);
#pragma unroll
    for (int j = 0; j < width; ++j) v.v[j] = from_float<T>(to_float(v.v[j]) * sigmoid(to_float(g.v[j])));
    store(y_NC + row + c, v);
  }
}

// d_o may be dy.
template <class T, int width>
__global__ void backward_kernel(T* d_o_NC, T* dpacked_NP, const T* dy_NC, const T* o_NC, const T* packed_NP,
                                int columns, int d, int packed) {
  const int64_t row = int64_t{blockIdx.x} * columns, packed_row = int64_t{blockIdx.x} * packed;
#pragma unroll 2
  for (int c = static_cast<int>(threadIdx.x) * width; c < columns; c += kThreads * width) {
    const int64_t at = packed_row + gate_column(c, d);
    const auto o = load<width>(o_NC + row + c);
    auto dy = load<width>(dy_NC + row + c), gate = load<width>(packed_NP + at);
#pragma unroll
    for (int j = 0; j < width; ++j) {
      const float s = sigmoid(to_float(gate.v[j])), g = to_float(dy.v[j]);
      dy.v[j] = from_float<T>(g * s);
      gate.v[j] = from_float<T>(g * to_float(o.v[j]) * s * (1.0F - s));
    }
    store(d_o_NC + row + c, dy);
    store(dpacked_NP + at, gate);
  }
}

}  // namespace

void GpuOps::gate_forward(Tensor y_NHd, const Tensor& o_NHd, const Tensor& packed_NP, Heads heads) {
  contracts::check_gate_forward(y_NHd, o_NHd, packed_NP, heads);
  if (y_NHd.numel() == 0) return;
  with_activation(packed_NP.dtype(), [&]<class T>() {
    const int width = vector_width<T>(heads.dim, y_NHd.data(), o_NHd.data(), packed_NP.data());
    const auto kernel = width == 1 ? forward_kernel<T, 1> : forward_kernel<T, 16 / sizeof(T)>;
    launch(stream_, kernel, {blocks(packed_NP.dim(0)), kThreads}, pointer<T>(y_NHd), pointer<T>(o_NHd),
           pointer<T>(packed_NP), static_cast<int>(heads.query * heads.dim), static_cast<int>(heads.dim),
           static_cast<int>(heads.packed()));
  });
}

void GpuOps::gate_backward(Tensor do_NHd, Tensor dpacked_NP, const Tensor& dy_NHd, const Tensor& o_NHd,
                           const Tensor& packed_NP, Heads heads) {
  contracts::check_gate_backward(do_NHd, dpacked_NP, dy_NHd, o_NHd, packed_NP, heads);
  if (do_NHd.numel() == 0) return;
  with_activation(packed_NP.dtype(), [&]<class T>() {
    const int width = vector_width<T>(heads.dim, do_NHd.data(), dpacked_NP.data(), dy_NHd.data(),
                                      o_NHd.data(), packed_NP.data());
    const auto kernel = width == 1 ? backward_kernel<T, 1> : backward_kernel<T, 16 / sizeof(T)>;
    launch(stream_, kernel, {blocks(packed_NP.dim(0)), kThreads}, pointer<T>(do_NHd), pointer<T>(dpacked_NP),
           pointer<T>(dy_NHd), pointer<T>(o_NHd), pointer<T>(packed_NP),
           static_cast<int>(heads.query * heads.dim), static_cast<int>(heads.dim),
           static_cast<int>(heads.packed()));
  });
}

}  // namespace moe::gpu
