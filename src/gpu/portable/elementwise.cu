// SPDX-License-Identifier: MIT
// fill, copy, cast, add, average and the logistic function: little but memory traffic.
#include <algorithm>

#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"
#include "gpu/sigmoid.cuh"

namespace moe::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int kVectors = 4;  // moved by one thread

// y[i] = f(y[i], x[i]) for i < n.
template <int width, class Y, class X, class F>
__global__ void map_kernel(Y* y, const X* x, int64_t n, F f) {
  const int64_t first = (int64_t{blockIdx.x} * kVectors * kThreads + threadIdx.x) * width;
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int64_t at = first + int64_t{i} * kThreads * width;
    if (at + width <= n) {
      const auto in = load<width>(x + at);
      auto out = load<width>(y + at);
#pragma unroll
      for (int j = 0; j < width; ++j) out.v[j] = f(out.v[j], in.v[j]);
      store(y + at, out);
    } else {
      for (int64_t j = at; j < n; ++j) y[j] = f(y[j], x[j]);
    }
  }
}

template <class T>
__global__ void fill_kernel(T* x, T value, int64_t n) {
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < n; i += step) x[i] = value;
}

struct Convert {
  __device__ float operator()(float, bf16 x) const { return to_float(x); }
  __device__ float operator()(float, f16 x) const { return to_float(x); }
  template <class T>
  __device__ T operator()(T, float x) const {
    return from_float<T>(x);
  }
};

template <class T>
struct Plus {
  T scale;
  __device__ T operator()(T y, T x) const { return y + scale * x; }
};

struct MoveTo {
  float share;
  // Rounded as the CPU does it.
  __device__ float operator()(float y, float x) const { return __fadd_rn(y, __fmul_rn(share, x - y)); }
};

struct Logistic {
  __device__ float operator()(float, float x) const { return gpu::sigmoid(x); }
};

struct LogisticSlope {
  __device__ float operator()(float d, float y) const { return d * (y * (1.0F - y)); }
};

template <class Y, class X, class F>
void map(cudaStream_t stream, Tensor& y, const Tensor& x, F f) {
  constexpr int wide = 16 / static_cast<int>(std::max(sizeof(X), sizeof(Y)));
  if (y.numel() == 0) return;
  // Whole tensors are aligned; a row of one may not be.
  const bool aligned = vector_width<X>(0, y.data(), x.data()) > 1;
  const int64_t elements = int64_t{kThreads} * kVectors * (aligned ? wide : 1);
  launch(stream, aligned ? map_kernel<wide, Y, X, F> : map_kernel<1, Y, X, F>,
         {blocks(ceil_div(y.numel(), elements)), kThreads}, pointer<Y>(y), pointer<X>(x), y.numel(), f);
}

template <class T>
void fill_with(cudaStream_t stream, Tensor& x, T value) {
  if (x.numel() == 0) return;
  launch(stream, fill_kernel<T>, {blocks(std::min<int64_t>(ceil_div(x.numel(), kThreads), 4096)), kThreads},
         static_cast<T*>(x.data()), value, x.numel());
}

}  // namespace

void GpuOps::fill(Fill op) {
  op.check();
  switch (op.x.dtype()) {
    case DType::f32:
      return fill_with(stream_, op.x, op.value);
    case DType::bf16:
      return fill_with(stream_, op.x, moe::bf16(op.value));  // the bits are what counts here
    case DType::f16:
      return fill_with(stream_, op.x, moe::f16(op.value));
    case DType::f64:
      return fill_with(stream_, op.x, static_cast<double>(op.value));
    case DType::i32:
      return fill_with(stream_, op.x, static_cast<int32_t>(op.value));
    case DType::u8:
      return fill_with(stream_, op.x, static_cast<uint8_t>(op.value));
    case DType::e4m3:
      return fill_with(stream_, op.x, e4m3(op.value));
    case DType::e5m2:
      return fill_with(stream_, op.x, e5m2(op.value));
  }
}

void GpuOps::copy(Copy op) {
  op.check();
  CUDA_CHECK(cudaMemcpyAsync(op.y.data(), op.x.data(), static_cast<size_t>(op.x.bytes()),
                             cudaMemcpyDeviceToDevice, stream_));
}

void GpuOps::cast(Cast op) {
  op.check();
  if (op.y.dtype() == op.x.dtype()) return copy({op.y, op.x});
  if (op.x.dtype() == DType::bf16) return map<float, bf16>(stream_, op.y, op.x, Convert{});
  if (op.x.dtype() == DType::f16) return map<float, f16>(stream_, op.y, op.x, Convert{});
  if (op.y.dtype() == DType::bf16) return map<bf16, float>(stream_, op.y, op.x, Convert{});
  map<f16, float>(stream_, op.y, op.x, Convert{});
}

void GpuOps::add(Add op) {
  op.check();
  if (op.y.dtype() == DType::i32) return map<int32_t, int32_t>(stream_, op.y, op.x, Plus<int32_t>{1});
  map<float, float>(stream_, op.y, op.x, Plus<float>{op.scale});
}

void GpuOps::average(Average op) {
  op.check();
  map<float, float>(stream_, op.y, op.x, MoveTo{op.share});
}

void GpuOps::sigmoid(Sigmoid op) {
  op.check();
  map<float, float>(stream_, op.y, op.x, Logistic{});
}

void GpuOps::sigmoid_backward(SigmoidBackward op) {
  op.check();
  map<float, float>(stream_, op.d, op.y, LogisticSlope{});
}

}  // namespace moe::gpu
