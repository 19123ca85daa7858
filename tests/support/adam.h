// SPDX-License-Identifier: MIT
// A parameter of the AdamW tests: with 8-bit and with f32 states, and its options.
#pragma once

#include <vector>

#include "support/fixture.h"

namespace moe::test {

inline AdamW options_at(int64_t step, AdamW::Order order) {
  return {.learning_rate = 1e-2F,
          .beta1 = 0.9F,
          .beta2 = 0.95F,
          .epsilon = 1e-8F,
          .weight_decay = 0.1F,
          .step = step,
          .order = order};
}

// A parameter with 8-bit and with f32 states, fresh.
struct Adam {
  Tensor weight, compute, gradient, code_m, code_v, absmax_m, absmax_v, m, v, scale;

  Adam(Machine& machine, int64_t n) {
    weight = machine.normal("weight", DType::f32, {n});
    compute = machine.zeros(DType::bf16, {n});
    gradient = machine.normal("gradient", DType::f32, {n}, 0.01F);
    code_m = machine.zeros(DType::u8, {n});
    code_v = machine.zeros(DType::u8, {n});
    absmax_m = machine.zeros(DType::f32, {(n + 255) / 256});
    absmax_v = machine.zeros(DType::f32, {(n + 255) / 256});
    m = machine.zeros(DType::f32, {n});
    v = machine.zeros(DType::f32, {n});
    scale = machine.of<float>(DType::f32, {1}, {1});
  }
  void step8(Machine& machine, const AdamW& options) {
    machine.ops().adamw8({.weight = weight,
                          .compute = compute,
                          .code_m = code_m,
                          .code_v = code_v,
                          .absmax_m = absmax_m,
                          .absmax_v = absmax_v,
                          .gradient = gradient,
                          .scale_1 = scale,
                          .options = options});
  }
  void step32(Machine& machine, const AdamW& options) {
    machine.ops().adamw32({.weight = weight,
                           .compute = compute,
                           .m = m,
                           .v = v,
                           .gradient = gradient,
                           .scale_1 = scale,
                           .options = options});
  }
  std::vector<Tensor> all() const {
    return {weight, compute, gradient, code_m, code_v, absmax_m, absmax_v, m, v};
  }
};

}  // namespace moe::test
