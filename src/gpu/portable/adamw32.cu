// SPDX-License-Identifier: MIT
// AdamW with f32 moments: four elements a thread.
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/portable/adamw.cuh"
#include "ops/adamw_step.h"

namespace moe::gpu {
namespace {

constexpr int kThreads = 256;

template <class W, class G>
struct Parameter {
  W* weight;
  bf16* compute;  // or null
  const G* gradient;
  float *m, *v;
};

template <AdamW::Order order, bool whole, class W, class G>
__device__ __forceinline__ void step_four(const Parameter<W, G>& to, int64_t at, int64_t left,
                                          const AdamWStep& step, const StochasticRounding& rounding) {
  const auto old = load_some<whole>(to.weight + at, left);
  const auto gradient = load_some<whole>(to.gradient + at, left);
  auto m = load_some<whole>(to.m + at, left), v = load_some<whole>(to.v + at, left);
  Vec<float, kFour> weight;
#pragma unroll
  for (int j = 0; j < kFour; ++j) {
    weight.v[j] = to_float(old.v[j]);
    adamw_element<order, FastMath>(weight.v[j], m.v[j], v.v[j], to_float(gradient.v[j]), step);
  }
  store_some<whole>(to.m + at, m, left);
  store_some<whole>(to.v + at, v, left);
  const int half = at % StochasticRounding::kBlock < StochasticRounding::kHalf ? 0 : 1;
  StochasticRounding::Bits random{};
  if constexpr (!std::is_same_v<W, float>) random = rounding.draw(at - half * StochasticRounding::kHalf);
  store_weights<whole>(to.weight + at, to.compute == nullptr ? nullptr : to.compute + at, weight, left,
                       random, half);
}

template <AdamW::Order order, class W, class G>
__global__ void adamw32_kernel(Parameter<W, G> to, int64_t n, bool aligned, const float* scale_1,
                               AdamWStep step, StochasticRounding rounding) {
  const int64_t at = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kFour, left = n - at;
  step.scale = *scale_1;
  if (left <= 0 || step.scale < 0) return;
  if (aligned && left >= kFour)
    step_four<order, true>(to, at, left, step, rounding);
  else
    step_four<order, false>(to, at, left, step, rounding);
}

}  // namespace

void GpuOps::adamw32(AdamW32 op) {
  op.check();
  const int64_t n = op.weight.numel();
  if (n == 0) return;
  with_adamw_types(op.weight, op.gradient, op.options.order, [&]<class W, class G, AdamW::Order order>() {
    const Parameter<W, G> to{pointer<W>(op.weight), pointer<bf16>(op.compute), pointer<G>(op.gradient),
                             pointer<float>(op.m), pointer<float>(op.v)};
    const bool aligned = vector_width<float>(0, to.weight, to.compute, to.gradient, to.m, to.v) > 1;
    launch(stream_, adamw32_kernel<order, W, G>, {blocks(ceil_div(n, kThreads * kFour)), kThreads}, to, n,
           aligned, pointer<float>(op.scale_1), AdamWStep(op.options, 0), StochasticRounding(op.options));
  });
}

}  // namespace moe::gpu
