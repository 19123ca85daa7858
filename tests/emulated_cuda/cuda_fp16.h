// SPDX-License-Identifier: MIT
// What src/gpu uses of CUDA's header of this name (see cuda_runtime.h).
#pragma once

#include <cstdint>

#include "base/f16.h"
#include "emulated_cuda/kernel.h"

struct __half {
  uint16_t bits;
};
struct alignas(4) __half2 {
  __half x, y;
};

inline float __half2float(__half x) {
  moe::f16 value;
  value.bits = x.bits;
  return static_cast<float>(value);
}
// To nearest, ties to even.
inline __half __float2half_rn(float x) {
  return {moe::f16(x).bits};
}
inline __half2 __floats2half2_rn(float x, float y) {
  return {__float2half_rn(x), __float2half_rn(y)};
}
inline float2 __half22float2(__half2 v) {
  return {__half2float(v.x), __half2float(v.y)};
}
inline uint16_t __half_as_ushort(__half x) {
  return x.bits;
}
inline __half __ushort_as_half(uint16_t bits) {
  return {bits};
}
