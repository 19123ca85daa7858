// SPDX-License-Identifier: MIT
// What both AdamW kernels share: fast arithmetic for the step of ops/adamw_step.h, loads and stores of four
// elements of which the last ones may not exist, the rounding of weights, and the choice of a kernel by
// types.
#pragma once

#include <cfloat>
#include <cstdint>
#include <type_traits>

#include "gpu/fast_math.cuh"
#include "gpu/numbers.cuh"
#include "ops/stochastic_rounding.h"

namespace moe::gpu {

// A few units in the last place. Exact divisions and roots would take as long as the memory.
struct FastMath {
  __device__ static float root(float x) { return fast_root(x); }
  __device__ static float divide(float x, float y) { return x * fast_reciprocal(y); }
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

// Four weights as they are stored: an f32 weight with its copy, or a bf16 one rounded at random. half: as in
// StochasticRounding::of.
template <bool whole, class W>
__device__ __forceinline__ void store_weights(W* weight, bf16* compute, const Vec<float, kFour>& x,
                                              int64_t left, const StochasticRounding::Bits& random,
                                              int half) {
  if constexpr (std::is_same_v<W, float>) {
    store_some<whole>(weight, x, left);
    if (compute != nullptr) store_some<whole>(compute, rounded(x), left);
  } else {
    Vec<bf16, kFour> y{};
#pragma unroll
    for (int j = 0; j < kFour; ++j)
      y.v[j] =
          __ushort_as_bfloat16(StochasticRounding::round(x.v[j], StochasticRounding::of(random, half, j)));
    store_some<whole>(weight, y, left);
  }
}

// Calls body.template operator()<W, G, order>() for the types of weight and gradient.
template <class Body>
void with_adamw_types(const Tensor& weight, const Tensor& gradient, AdamW::Order order, Body&& body) {
  with_f32_or_bf16(weight.dtype(), [&]<class W>() {
    with_f32_or_bf16(gradient.dtype(), [&]<class G>() {
      if (order == AdamW::Order::pytorch)
        body.template operator()<W, G, AdamW::Order::pytorch>();
      else
        body.template operator()<W, G, AdamW::Order::bitsandbytes>();
    });
  });
}

}  // namespace moe::gpu
