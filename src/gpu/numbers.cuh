// SPDX-License-Identifier: MIT
// Element types on the GPU. Kernels compute in f32 and are templates over the type T in memory: float, bf16
// or f16.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "base/error.h"
#include "tensor/tensor.h"

namespace moe::gpu {

using bf16 = __nv_bfloat16;  // the host's moe::bf16 has the same bits
using f16 = __half;          // and moe::f16

__device__ __forceinline__ float to_float(float x) {
  return x;
}
__device__ __forceinline__ float to_float(bf16 x) {
  return __bfloat162float(x);
}
__device__ __forceinline__ float to_float(f16 x) {
  return __half2float(x);
}

// Rounded to nearest, ties to even.
template <class T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ bf16 from_float<bf16>(float x) {
  return __float2bfloat16_rn(x);
}
template <>
__device__ __forceinline__ f16 from_float<f16>(float x) {
  return __float2half_rn(x);
}

// n consecutive elements, moved at once when n * sizeof(T) is 4, 8 or 16; their address is a multiple of
// that.
template <class T, int n>
struct alignas(sizeof(T) * n) Vec {
  T v[n];
};

template <int n, class T>
__device__ __forceinline__ Vec<T, n> load(const T* p) {
  return *reinterpret_cast<const Vec<T, n>*>(p);
}
template <class T, int n>
__device__ __forceinline__ void store(T* p, const Vec<T, n>& value) {
  *reinterpret_cast<Vec<T, n>*>(p) = value;
}

// ---- from tensors to typed pointers; on the host ----

template <class T>
constexpr DType kDType = dtype_of<T>;
template <>
inline constexpr DType kDType<bf16> = DType::bf16;
template <>
inline constexpr DType kDType<f16> = DType::f16;

// Null for an empty tensor.
template <class T>
T* pointer(Tensor& t) {
  CHECK(t.empty() || t.dtype() == kDType<T>, t.describe());
  return t.empty() ? nullptr : static_cast<T*>(t.data());
}
template <class T>
const T* pointer(const Tensor& t) {
  CHECK(t.empty() || t.dtype() == kDType<T>, t.describe());
  return t.empty() ? nullptr : static_cast<const T*>(t.data());
}

// Calls body.template operator()<T>() with the type T of activations.
template <class Body>
void with_activation(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f32:
      return body.template operator()<float>();
    case DType::bf16:
      return body.template operator()<bf16>();
    case DType::f16:
      return body.template operator()<f16>();
    default:
      CHECK(false, "not a type of activations");
  }
}

// The same for weights and their gradients.
template <class Body>
void with_f32_or_bf16(DType dtype, Body&& body) {
  CHECK(dtype == DType::f32 || dtype == DType::bf16, "neither f32 nor bf16");
  if (dtype == DType::f32) return body.template operator()<float>();
  body.template operator()<bf16>();
}

// Elements that a thread may move at once (16 bytes of T, or 1) when rows have `columns` elements and start
// at the given addresses.
template <class T, class... Pointers>
int vector_width(int64_t columns, Pointers... pointers) {
  constexpr int width = 16 / static_cast<int>(sizeof(T));
  const bool aligned = columns % width == 0 && ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
  return aligned ? width : 1;
}

}  // namespace moe::gpu
