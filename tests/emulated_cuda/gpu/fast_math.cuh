// SPDX-License-Identifier: MIT
// Stands for src/gpu/fast_math.cuh in the emulated build.
#pragma once

#include <cmath>
#include <limits>

namespace moe::gpu {

inline float flushed(float x) {
  return std::abs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0F, x) : x;
}
inline float fast_reciprocal(float x) {
  return flushed(1.0F / flushed(x));
}
inline float fast_root(float x) {
  return std::sqrt(flushed(x));
}

}  // namespace moe::gpu
