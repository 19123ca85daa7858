// SPDX-License-Identifier: MIT
// A block of 256 moments in 8 bits: a warp has one, eight elements a lane, in two parts of four. Codes come
// from tables (ops/quantise8.h).
#pragma once

#include <bit>
#include <cfloat>
#include <cstdint>

#include "gpu/block_reduce.cuh"
#include "gpu/dynamic_shared.cuh"
#include "gpu/fast_math.cuh"
#include "gpu/portable/adamw.cuh"
#include "ops/quantise8.h"

namespace moe::gpu {

// The block's own copy of constant tables, in its dynamic shared memory.
template <int threads, class Tables>
__device__ __forceinline__ const Tables& copy_to_shared(const Tables& tables) {
  auto* const copy = dynamic_shared<int32_t>();
  const auto* const from = reinterpret_cast<const int32_t*>(&tables);
  for (int i = static_cast<int>(threadIdx.x); i < static_cast<int>(sizeof(Tables) / sizeof(int32_t));
       i += threads)
    copy[i] = from[i];
  __syncthreads();
  return *reinterpret_cast<const Tables*>(copy);
}

inline constexpr int kBlock = kAdamBlock;
inline constexpr int kParts = 2;  // a lane's fours, each beside its neighbours'
inline constexpr int kPart = kBlock / kParts;
static_assert(kPart == 32 * kFour && kPart == StochasticRounding::kHalf);

// Where a lane's part of a block is, and how many of its four elements exist there.
struct Place {
  int64_t at, left;

  __device__ Place(int64_t block, int part, int64_t n)
      : at(block * kBlock + part * kPart + static_cast<int>(threadIdx.x) % 32 * kFour), left(n - at) {}
};

struct Moments {
  float v[kParts][kFour];

  __device__ __forceinline__ float largest() const {
    float most = 0;
#pragma unroll
    for (int i = 0; i < kParts; ++i)
#pragma unroll
      for (int j = 0; j < kFour; ++j) most = fmaxf(most, fabsf(v[i][j]));
    // Floats that are not negative are in the order of their bits.
    return __uint_as_float(__reduce_max_sync(kAllLanes, __float_as_uint(most)));
  }
};

__device__ __forceinline__ uint32_t third_bytes(const uint32_t (&x)[kFour]) {
  return __byte_perm(__byte_perm(x[0], x[1], 0x0062), __byte_perm(x[2], x[3], 0x0062), 0x5410);
}

// The codes of a part of m: four bytes. Those of a block without any magnitude are what bitsandbytes' search
// gives for 0/0: they decode to 0.
__device__ __forceinline__ uint32_t encode_m(const adamw8::Quantiser (&quantise_m)[2],
                                             const float (&m)[kFour], float absmax) {
  const float inverse = fast_reciprocal(fmaxf(absmax, FLT_MIN));
  uint32_t scaled[kFour];
#pragma unroll
  for (int j = 0; j < kFour; ++j) {
    const bool negative = __float_as_int(m[j]) < 0;
    const float x = fmaxf(fminf(fabsf(m[j]) * inverse, 1.0F), adamw8::Quantiser::kLeast);
    const uint32_t code = quantise_m[negative ? 1 : 0].scaled(__float_as_int(x));
    scaled[j] = absmax == 0 ? 0x00ff0000U : code;
    scaled[j] = negative ? ~scaled[j] : scaled[j];
  }
  return third_bytes(scaled);
}

}  // namespace moe::gpu
