// SPDX-License-Identifier: MIT
// AdamW with f32 moments: four elements a thread.
#include "gpu/adamw.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "ops/adamw_step.h"
#include "ops/contracts/adamw8.h"

namespace moe::gpu {
namespace {

constexpr int kThreads = 256;

struct Parameter {
  float* weight;
  bf16* compute;  // or null
  float *gradient, *m, *v;
};

template <AdamW::Order order, bool whole>
__device__ __forceinline__ void step_four(const Parameter& to, int64_t at, int64_t left,
                                          const AdamWStep& step) {
  auto weight = load_some<whole>(to.weight + at, left), m = load_some<whole>(to.m + at, left),
       v = load_some<whole>(to.v + at, left);
  const auto gradient = load_some<whole>(to.gradient + at, left);
#pragma unroll
  for (int j = 0; j < kFour; ++j)
    adamw_element<order, FastMath>(weight.v[j], m.v[j], v.v[j], gradient.v[j], step);
  store_some<whole>(to.weight + at, weight, left);
  store_some<whole>(to.m + at, m, left);
  store_some<whole>(to.v + at, v, left);
  if (to.compute != nullptr) store_some<whole>(to.compute + at, rounded(weight), left);
}

template <AdamW::Order order>
__global__ void adamw32_kernel(Parameter to, int64_t n, bool aligned, const float* scale_1, AdamWStep step) {
  const int64_t at = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kFour, left = n - at;
  if (left <= 0) return;
  const bool whole = aligned && left >= kFour;
  step.scale = *scale_1;
  if (step.scale >= 0) {
    if (whole)
      step_four<order, true>(to, at, left, step);
    else
      step_four<order, false>(to, at, left, step);
  }
  if (whole)
    store_some<true>(to.gradient + at, Vec<float, kFour>{}, left);
  else
    store_some<false>(to.gradient + at, Vec<float, kFour>{}, left);
}

}  // namespace

void GpuOps::adamw32(Tensor weight, Tensor compute, Tensor gradient, Tensor m, Tensor v,
                     const Tensor& scale_1, const AdamW& options) {
  contracts::check_adamw32(weight, compute, gradient, m, v, scale_1, options);
  const int64_t n = weight.numel();
  if (n == 0) return;
  const Parameter to{pointer<float>(weight), pointer<bf16>(compute), pointer<float>(gradient),
                     pointer<float>(m), pointer<float>(v)};
  const bool aligned = vector_width<float>(0, to.weight, to.compute, to.gradient, to.m, to.v) > 1;
  const auto run = [&]<AdamW::Order order>() {
    launch(stream_, adamw32_kernel<order>, {blocks(ceil_div(n, kThreads * kFour)), kThreads}, to, n, aligned,
           pointer<float>(scale_1), AdamWStep(options, 0));
  };
  if (options.order == AdamW::Order::pytorch) return run.operator()<AdamW::Order::pytorch>();
  run.operator()<AdamW::Order::bitsandbytes>();
}

}  // namespace moe::gpu
