// SPDX-License-Identifier: MIT
// Blocks of 256 moments in 8 bits and out again: ops/adamw8_maps.h has the format.
#pragma once

#include <cmath>
#include <cstdint>

#include "cpu/vector.h"
#include "ops/optimizer.h"
#include "ops/quantise8.h"

namespace moe::cpu {

inline void decode(float* __restrict out, const uint8_t* __restrict code, const adamw8::Map& map,
                   float absmax, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] = map[code[i]] * absmax;
}

inline float largest_magnitude(const float* x, int64_t count) {
  return max_of(count, [=](int64_t i) { return std::abs(x[i]); });
}

// Codes of a block without any magnitude are those that bitsandbytes' search gives for 0/0: they decode to 0.
inline void encode_m(uint8_t* __restrict code, float& absmax, const float* __restrict m, int64_t count) {
  absmax = largest_magnitude(m, count);
  if (absmax == 0) {
    for (int64_t i = 0; i < count; ++i) code[i] = std::signbit(m[i]) ? 0 : 255;
    return;
  }
  const float divisor = absmax;
  for (int64_t i = 0; i < count; ++i) code[i] = adamw8::code_signed(adamw8::kQuantiseSigned, m[i] / divisor);
}

}  // namespace moe::cpu
