// SPDX-License-Identifier: MIT
// One AdamW step of one element with both moments in f32: shared by the 8-bit and the 32-bit op of every
// device. Both update orders are stated in docs/numerics.md.
#pragma once

#include <cmath>
#include <limits>

#include "ops/ops.h"

namespace moe {

// What is the same for all elements; bias corrections in double.
struct AdamWStep {
  float scale, beta1, beta2, step, inverse_root, epsilon, decay;
  bool cautious;

  AdamWStep(const AdamW& options, float gradient_scale)
      : scale(gradient_scale), beta1(options.beta1), beta2(options.beta2), cautious(options.cautious) {
    const double t = static_cast<double>(options.step);
    const double correction1 = 1 - std::pow(static_cast<double>(beta1), t);
    const double correction2 = std::sqrt(1 - std::pow(static_cast<double>(beta2), t));
    const double rate = options.learning_rate;
    const bool pytorch = options.order == AdamW::Order::pytorch;
    step = static_cast<float>(pytorch ? rate / correction1 : rate * correction2 / correction1);
    inverse_root = static_cast<float>(1 / correction2);
    epsilon = static_cast<float>(pytorch ? options.epsilon : correction2 * options.epsilon);
    decay = static_cast<float>(rate * options.weight_decay);
  }
};

// m, v and p move by one step along g. A gradient that is not finite clears the moments and leaves p.
// Math::root and Math::divide are the device's: exact or fast.
template <AdamW::Order order, class Math>
constexpr void adamw_element(float& p, float& m, float& v, float gradient, const AdamWStep& s) {
  const float g = gradient * s.scale;
  const bool finite = std::abs(g) <= std::numeric_limits<float>::max();
  const float new_m = s.beta1 * m + (1.0F - s.beta1) * g;
  const float new_v = s.beta2 * v + (1.0F - s.beta2) * g * g;
  // The step has the sign of new_m.
  const float decay = s.cautious && !(new_m * p > 0.0F) ? 0.0F : s.decay;
  float moved = 0;
  if constexpr (order == AdamW::Order::pytorch) {
    const float decayed = p - decay * p;
    moved = decayed - Math::divide(s.step * new_m, Math::root(new_v) * s.inverse_root + s.epsilon);
  } else {
    moved = p - Math::divide(s.step * new_m, Math::root(new_v) + s.epsilon);
    moved *= 1.0F - decay;
  }
  m = finite ? new_m : 0.0F;
  v = finite ? new_v : 0.0F;
  p = finite ? moved : p;
}

}  // namespace moe
