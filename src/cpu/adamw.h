// SPDX-License-Identifier: MIT
// What both AdamW ops share: arithmetic beyond products and sums, rounded once each, and how a block of
// weights is stored.
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "cpu/vector.h"
#include "ops/stochastic_rounding.h"

namespace moe::cpu {

struct ExactMath {
  static float root(float x) { return std::sqrt(x); }
  static float divide(float x, float y) { return x / y; }
};

// Elements [at, at + count) of a tensor, at most a block and at its beginning: an f32 weight with its copy in
// bf16 (or null), or a bf16 weight rounded at random.
template <class W>
void store_weights(W* weight, bf16* compute, const float* x, int64_t at, int64_t count,
                   const StochasticRounding& rounding) {
  if constexpr (std::is_same_v<W, float>) {
    std::copy_n(x, count, weight + at);
    if (compute != nullptr) store_row(compute + at, x, count);
  } else {
    for (int64_t i = 0; i < std::min(count, StochasticRounding::kHalf); i += 4) {
      const auto bits = rounding.draw(at + i);
      for (int half = 0; half < 2; ++half)
        for (int j = 0; j < 4; ++j)
          if (const int64_t k = half * StochasticRounding::kHalf + i + j; k < count)
            weight[at + k].bits = StochasticRounding::round(x[k], StochasticRounding::of(bits, half, j));
    }
  }
}

// Calls body(W{}, G{}) with the types of weight and gradient.
template <class Body>
void with_adamw_types(const Tensor& weight, const Tensor& gradient, Body&& body) {
  with_f32_or_bf16(weight.dtype(),
                   [&](auto w) { with_f32_or_bf16(gradient.dtype(), [&](auto g) { body(w, g); }); });
}

}  // namespace moe::cpu
