// SPDX-License-Identifier: MIT
// What both AdamW kernels share: fast arithmetic for the step of ops/adamw_step.h, and loads and stores of four elements
// of which the last ones may not exist.
#pragma once

#include <cfloat>
#include <cstdint>

#include "gpu/numbers.cuh"

namespace moe::gpu {

// A few units in the last place. Exact divisions and roots would take as long as the memory.
struct FastMath {
  // Finite arguments of the reciprocal root: 0 and inf are right too.
  __device__ static float root(float x) { return x * rsqrtf(fminf(fmaxf(x, FLT_MIN), FLT_MAX)); }
  __device__ static float divide(float x, float y) { return __fdividef(x, y); }
};

inline constexpr int kFour = 4;

// whole: all four exist, and are moved at once.
template <bool whole, class T>
__device__ __forceinline__ Vec<T, kFour> load_some(const T* p, int64_t left) {
  if constexpr (whole) {
    return load<kFour>(p);
  } else {
    Vec<T, kFour> v{};
#pragma unroll
    for (int j = 0; j < kFour; ++j)
      if (j < left) v.v[j] = p[j];
    return v;
  }
}
template <bool whole, class T>
__device__ __forceinline__ void store_some(T* p, const Vec<T, kFour>& v, int64_t left) {
  if constexpr (whole) {
    store(p, v);
  } else {
#pragma unroll
    for (int j = 0; j < kFour; ++j)
      if (j < left) p[j] = v.v[j];
  }
}

__device__ __forceinline__ Vec<bf16, kFour> rounded(const Vec<float, kFour>& x) {
  Vec<bf16, kFour> y{};
#pragma unroll
  for (int j = 0; j < kFour; ++j) y.v[j] = from_float<bf16>(x.v[j]);
  return y;
}

}  // namespace moe::gpu
