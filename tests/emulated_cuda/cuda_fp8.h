// SPDX-License-Identifier: MIT
// What kernels use of CUDA's header for FP8.
#pragma once

#include <cstdint>

#include "base/fp8.h"
#include "emulated_cuda/kernel.h"

using __nv_fp8x2_storage_t = uint16_t;
enum __nv_saturation_t { __NV_NOSAT, __NV_SATFINITE };
enum __nv_fp8_interpretation_t { __NV_E4M3, __NV_E5M2 };

inline __nv_fp8x2_storage_t __nv_cvt_float2_to_fp8x2(float2 x, __nv_saturation_t,
                                                     __nv_fp8_interpretation_t format) {
  if (format == __NV_E4M3)
    return static_cast<uint16_t>(moe::fp8_bits<moe::kE4M3>(x.x) | moe::fp8_bits<moe::kE4M3>(x.y) << 8);
  return static_cast<uint16_t>(moe::fp8_bits<moe::kE5M2>(x.x) | moe::fp8_bits<moe::kE5M2>(x.y) << 8);
}
