// SPDX-License-Identifier: MIT
// What an AdamW step (ops/adamw_step.h) takes of arithmetic beyond products and sums, rounded once each.
#pragma once

#include <cmath>

namespace moe::cpu {

struct ExactMath {
  static float root(float x) { return std::sqrt(x); }
  static float divide(float x, float y) { return x / y; }
};

}  // namespace moe::cpu
