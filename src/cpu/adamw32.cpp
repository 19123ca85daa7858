// SPDX-License-Identifier: MIT
// AdamW with f32 moments: for tensors too small or too delicate for 8 bits.
#include <algorithm>

#include "cpu/adamw.h"
#include "cpu/cpu_ops.h"
#include "ops/adamw_step.h"

namespace moe::cpu {
namespace {

constexpr int64_t kBlock = StochasticRounding::kBlock;
constexpr int64_t kBlocks = 16;  // per chunk

template <class W, class G>
struct Parameter {
  W* weight;
  bf16* compute;  // or null
  const G* gradient;
  float *m, *v;
};

template <AdamW::Order order, class W, class G>
void step_block(const Parameter<W, G>& to, int64_t at, int64_t count, const AdamWStep& step,
                const StochasticRounding& rounding) {
  float weight[kBlock] = {}, gradient[kBlock] = {};
  load_row(weight, to.weight + at, count);
  load_row(gradient, to.gradient + at, count);
  float* __restrict m = to.m + at;
  float* __restrict v = to.v + at;
  for (int64_t i = 0; i < count; ++i)
    adamw_element<order, ExactMath>(weight[i], m[i], v[i], gradient[i], step);
  store_weights(to.weight, to.compute, weight, at, count, rounding);
}

}  // namespace

void CpuOps::adamw32(AdamW32 op) {
  op.check();
  const float scale = op.scale_1.as<float>()[0];
  if (scale < 0) return;
  const AdamWStep step(op.options, scale);
  const StochasticRounding rounding(op.options);
  const int64_t n = op.weight.numel();
  with_adamw_types(op.weight, op.gradient, [&]<class W, class G>(W, G) {
    const Parameter<W, G> to{op.weight.as<W>(), op.compute.empty() ? nullptr : op.compute.as<bf16>(),
                             op.gradient.as<G>(), op.m.as<float>(), op.v.as<float>()};
    const auto step_one = op.options.order == AdamW::Order::pytorch
                              ? step_block<AdamW::Order::pytorch, W, G>
                              : step_block<AdamW::Order::bitsandbytes, W, G>;
    pool_.parallel_for((n + kBlock - 1) / kBlock, kBlocks, [&](int64_t begin, int64_t end) {
      for (int64_t at = begin * kBlock; at < std::min(n, end * kBlock); at += kBlock)
        step_one(to, at, std::min(kBlock, n - at), step, rounding);
    });
  });
}

}  // namespace moe::cpu
