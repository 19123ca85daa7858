// SPDX-License-Identifier: MIT
// The logistic function of the gates, with the fast exponential and division: a few units in the last place.
#pragma once

#include <cuda_runtime.h>

namespace moe::gpu {

// 0 for -inf, 1 for inf.
__device__ __forceinline__ float sigmoid(float x) {
  return __fdividef(1.0F, 1.0F + __expf(-x));
}

}  // namespace moe::gpu
