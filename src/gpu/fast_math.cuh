// SPDX-License-Identifier: MIT
// The special function unit's reciprocal and root as they are, without the cases around them: within two
// units in the last place for normal numbers; subnormal ones count as 0. The emulated build has its own file
// of this name.
#pragma once

namespace moe::gpu {

__device__ __forceinline__ float fast_reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// 0 for 0, inf for inf.
__device__ __forceinline__ float fast_root(float x) {
  float y;
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace moe::gpu
