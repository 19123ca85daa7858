// SPDX-License-Identifier: MIT
// The logistic function of the gates, four instructions with the special function unit's exponential and
// reciprocal: a few units in the last place.
#pragma once

#include "gpu/fast_math.cuh"
#include "gpu/mma.cuh"

namespace moe::gpu {

// 0 for -inf, 1 for inf.
__device__ __forceinline__ float sigmoid(float x) {
  return fast_reciprocal(1.0F + exp2_fast(x * -1.44269504F));
}

}  // namespace moe::gpu
