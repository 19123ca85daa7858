// SPDX-License-Identifier: MIT
// AdamW with f32 moments: for tensors too small or too delicate for 8 bits.
#include <algorithm>

#include "cpu/cpu_ops.h"
#include "cpu/exact_math.h"
#include "cpu/vector.h"
#include "ops/adamw_step.h"
#include "ops/contracts/adamw8.h"

namespace moe::cpu {
namespace {

constexpr int64_t kGrain = 1 << 12;

template <AdamW::Order order>
void step_range(float* __restrict weight, float* __restrict gradient, float* __restrict m,
                float* __restrict v, int64_t count, const AdamWStep& step) {
  for (int64_t i = 0; i < count; ++i) {
    adamw_element<order, ExactMath>(weight[i], m[i], v[i], gradient[i], step);
    gradient[i] = 0;
  }
}

}  // namespace

void CpuOps::adamw32(Tensor weight, Tensor compute, Tensor gradient, Tensor m, Tensor v,
                     const Tensor& scale_1, const AdamW& options) {
  contracts::check_adamw32(weight, compute, gradient, m, v, scale_1, options);
  const float scale = scale_1.as<float>()[0];
  if (scale < 0) return fill(gradient, 0);
  const AdamWStep step(options, scale);
  float *w = weight.as<float>(), *g = gradient.as<float>(), *m1 = m.as<float>(), *m2 = v.as<float>();
  bf16* copy = compute.empty() ? nullptr : compute.as<bf16>();
  const auto step_some = options.order == AdamW::Order::pytorch ? step_range<AdamW::Order::pytorch>
                                                                : step_range<AdamW::Order::bitsandbytes>;
  pool_.parallel_for(weight.numel(), kGrain, [&](int64_t begin, int64_t end) {
    step_some(w + begin, g + begin, m1 + begin, m2 + begin, end - begin, step);
    if (copy != nullptr) store_row(copy + begin, w + begin, end - begin);
  });
}

}  // namespace moe::cpu
