// SPDX-License-Identifier: MIT
// Rows as FP8 (ops/fp8.h), for kernels that hold a row in the registers of a warp or a block.
#pragma once

#include <cuda_fp8.h>

#include "base/fp8.h"
#include "gpu/block_reduce.cuh"
#include "gpu/numbers.cuh"
#include "ops/fp8.h"

namespace moe::gpu {

// Rounded to nearest, ties to even, saturating; the lower byte is the first.
template <Fp8Format format>
__device__ __forceinline__ uint16_t fp8_pair(float first, float second) {
  return __nv_cvt_float2_to_fp8x2(make_float2(first, second), __NV_SATFINITE,
                                  format.mantissa == 3 ? __NV_E4M3 : __NV_E5M2);
}

// The bits of the largest size among x and `largest`: as a whole number, which NaN and infinity exceed.
template <class T, int width>
__device__ __forceinline__ uint32_t largest_bits(uint32_t largest, const Vec<T, width>& x) {
#pragma unroll
  for (int j = 0; j < width; ++j) largest = max(largest, __float_as_uint(to_float(x.v[j])) & 0x7fffffffU);
  return largest;
}

template <Fp8Format format, class T, int width>
__device__ __forceinline__ Vec<uint8_t, width> quantised(const Vec<T, width>& x, float inverse_scale) {
  Vec<uint8_t, width> q;
  if constexpr (width == 1) {
    q.v[0] = static_cast<uint8_t>(fp8_pair<format>(to_float(x.v[0]) * inverse_scale, 0));
  } else {
#pragma unroll
    for (int j = 0; j < width; j += 2) {
      const uint16_t pair =
          fp8_pair<format>(to_float(x.v[j]) * inverse_scale, to_float(x.v[j + 1]) * inverse_scale);
      q.v[j] = static_cast<uint8_t>(pair);
      q.v[j + 1] = static_cast<uint8_t>(pair >> 8);
    }
  }
  return q;
}

// A thread's share of a row's census.
struct CensusCounts {
  int nonzero = 0, flushed = 0, saturated = 0;

  template <Fp8Format format, class T, int width>
  __device__ __forceinline__ void add(const Vec<T, width>& x, const Vec<uint8_t, width>& q, float inverse) {
#pragma unroll
    for (int j = 0; j < width; ++j) {
      const float value = to_float(x.v[j]);
      nonzero += value != 0;
      flushed += value != 0 && (q.v[j] & 0x7fU) == 0;
      saturated += !(fabsf(value * inverse) <= fp8_value<format>(static_cast<uint8_t>(format.largest)));
    }
  }
  // By all lanes of a warp. Whole numbers: the order of the additions does not show.
  __device__ __forceinline__ void add_to(int32_t* census_4, uint32_t largest) const {
    const int sums[3] = {warp_sum(nonzero), warp_sum(flushed), warp_sum(saturated)};
    if (threadIdx.x % 32 != 0) return;
    atomicMax(census_4 + static_cast<int>(Census::largest), static_cast<int>(largest));
    atomicAdd(census_4 + static_cast<int>(Census::nonzero), sums[0]);
    if (sums[1] != 0) atomicAdd(census_4 + static_cast<int>(Census::flushed), sums[1]);
    if (sums[2] != 0) atomicAdd(census_4 + static_cast<int>(Census::saturated), sums[2]);
  }
};

// Where rows go. value: null for nowhere.
struct Fp8Rows {
  uint8_t* value = nullptr;
  float* scale = nullptr;
  int32_t* census = nullptr;

  __device__ __forceinline__ bool counts(int64_t row) const {
    return census != nullptr && row % kCensusRows == 0;
  }
};

// On the host. Empty rows are nowhere.
inline Fp8Rows fp8_rows(ScaledRows& rows) {
  if (rows.empty()) return {};
  return {static_cast<uint8_t*>(rows.value.data()), pointer<float>(rows.scale),
          pointer<int32_t>(rows.census)};
}

}  // namespace moe::gpu
