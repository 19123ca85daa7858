// SPDX-License-Identifier: MIT
// The experts' activation, and its backward that also applies the routing weight: a warp a row. How many rows
// are in use is read on the device.
#include "gpu/block_reduce.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"
#include "gpu/sigmoid.cuh"

namespace moe::gpu {
namespace {

constexpr int kWarps = 4;  // rows of a block

__device__ __forceinline__ int64_t row_of_warp() {
  return int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
}

template <class T, int width>
__global__ void forward_kernel(T* a_RF, const T* h_R2F, const int32_t* rows, int f) {
  const int64_t row = row_of_warp();
  if (row >= *rows) return;
  const T* const h = h_R2F + 2 * row * f;
#pragma unroll 2
  for (int c = static_cast<int>(threadIdx.x) % 32 * width; c < f; c += 32 * width) {
    const auto gate = load<width>(h + c);
    auto up = load<width>(h + f + c);
#pragma unroll
    for (int j = 0; j < width; ++j) {
      const float u = to_float(up.v[j]);
      up.v[j] = from_float<T>(to_float(gate.v[j]) * u * sigmoid(u));
    }
    store(a_RF + row * f + c, up);
  }
}

// dh may be h.
template <class T, int width>
__global__ void backward_kernel(T* dh_R2F, T* a_RF, float* dweight_NK, const T* da_RF, const T* h_R2F,
                                const float* weight_NK, const int32_t* slot_R, const int32_t* row_NK,
                                const int32_t* rows, int64_t assignments, int f) {
  const int64_t row = row_of_warp();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (row < assignments && lane == 0 && row_NK[row] < 0) dweight_NK[row] = 0;  // a dropped assignment
  if (row >= *rows) return;
  const int32_t slot = slot_R[row];
  const float w = weight_NK[slot];
  const T* const h = h_R2F + 2 * row * f;
  T* const dh = dh_R2F + 2 * row * f;
  float product = 0;
#pragma unroll 2
  for (int c = lane * width; c < f; c += 32 * width) {
    auto gate = load<width>(h + c), up = load<width>(h + f + c), da = load<width>(da_RF + row * f + c);
#pragma unroll
    for (int j = 0; j < width; ++j) {
      const float x = to_float(gate.v[j]), u = to_float(up.v[j]), g = to_float(da.v[j]);
      const float s = sigmoid(u), silu = u * s;
      product += g * x * silu;
      da.v[j] = from_float<T>(w * x * silu);
      gate.v[j] = from_float<T>(w * g * silu);
      up.v[j] = from_float<T>(w * g * x * (s + silu * (1.0F - s)));
    }
    store(dh + c, gate);
    store(dh + f + c, up);
    store(a_RF + row * f + c, da);
  }
  product = warp_sum(product);
  if (lane == 0) dweight_NK[slot] = product;
}

// The device's count of rows in use.
const int32_t* rows_in_use(const RoutePlan& plan) {
  return pointer<int32_t>(plan.offset_E1) + plan.count_E.dim(0);
}

}  // namespace

void GpuOps::swiglu_forward(SwigluForward op) {
  op.check();
  const int64_t rows = op.a_RF.dim(0), f = op.a_RF.dim(1);
  if (rows == 0) return;
  with_activation(op.a_RF.dtype(), [&]<class T>() {
    const auto kernel = vector_width<T>(f, op.a_RF.data(), op.h_R2F.data()) == 1
                            ? forward_kernel<T, 1>
                            : forward_kernel<T, 16 / sizeof(T)>;
    launch(stream_, kernel, {blocks(ceil_div(rows, kWarps)), kWarps * 32}, pointer<T>(op.a_RF),
           pointer<T>(op.h_R2F), rows_in_use(op.plan), static_cast<int>(f));
  });
}

void GpuOps::swiglu_backward(SwigluBackward op) {
  op.check();
  const int64_t rows = op.a_RF.dim(0), f = op.a_RF.dim(1);
  if (rows == 0) return;
  with_activation(op.a_RF.dtype(), [&]<class T>() {
    const int width = vector_width<T>(f, op.dh_R2F.data(), op.a_RF.data(), op.da_RF.data(), op.h_R2F.data());
    const auto kernel = width == 1 ? backward_kernel<T, 1> : backward_kernel<T, 16 / sizeof(T)>;
    launch(stream_, kernel, {blocks(ceil_div(rows, kWarps)), kWarps * 32}, pointer<T>(op.dh_R2F),
           pointer<T>(op.a_RF), pointer<float>(op.dweight_NK), pointer<T>(op.da_RF), pointer<T>(op.h_R2F),
           pointer<float>(op.weight_NK), pointer<int32_t>(op.plan.slot_R), pointer<int32_t>(op.plan.row_NK),
           rows_in_use(op.plan), rows, static_cast<int>(f));
  });
}

}  // namespace moe::gpu
