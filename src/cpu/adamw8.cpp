// SPDX-License-Identifier: MIT
// AdamW with 8-bit moments. A block of 256 elements is widened into local arrays, moved by one step, and its
// moments are quantised again with their new largest magnitudes. Weights use the moments before they are
// rounded.
#include <algorithm>
#include <cmath>

#include "cpu/adamw.h"
#include "cpu/cpu_ops.h"
#include "cpu/moment8.h"
#include "ops/adamw_step.h"

namespace moe::cpu {
namespace {

constexpr int64_t kBlock = kAdamBlock;
constexpr int64_t kBlocks = 64;  // per chunk

struct State8 {
  uint8_t *code_m, *code_v;
  float *absmax_m, *absmax_v;
};

void encode_v(uint8_t* __restrict code, float& absmax, const float* __restrict v, int64_t count) {
  absmax = largest_magnitude(v, count);
  const float divisor = absmax == 0 ? 1.0F : absmax;
  for (int64_t i = 0; i < count; ++i)
    code[i] = adamw8::code_unsigned(adamw8::kQuantiseUnsigned, v[i] / divisor);
}

template <class W, class G>
struct Parameter {
  W* weight;
  bf16* compute;  // or null
  const G* gradient;
  State8 state;
};

template <AdamW::Order order, class W, class G>
void step_block(const Parameter<W, G>& to, int64_t block, int64_t count, const AdamWStep& step,
                const StochasticRounding& rounding) {
  float weight[kBlock] = {}, gradient[kBlock] = {}, m[kBlock] = {}, v[kBlock] = {};
  const State8& state = to.state;
  const int64_t at = block * kBlock;
  load_row(weight, to.weight + at, count);
  load_row(gradient, to.gradient + at, count);
  decode(m, state.code_m + at, adamw8::kSigned, state.absmax_m[block], count);
  decode(v, state.code_v + at, adamw8::kUnsigned, state.absmax_v[block], count);
  for (int64_t i = 0; i < count; ++i)
    adamw_element<order, ExactMath>(weight[i], m[i], v[i], gradient[i], step);
  store_weights(to.weight, to.compute, weight, at, count, rounding);
  encode_m(state.code_m + at, state.absmax_m[block], m, count);
  encode_v(state.code_v + at, state.absmax_v[block], v, count);
}

}  // namespace

void CpuOps::adamw8(AdamW8 op) {
  op.check();
  const float scale = op.scale_1.as<float>()[0];
  if (scale < 0) return;
  const AdamWStep step(op.options, scale);
  const StochasticRounding rounding(op.options);
  const int64_t n = op.weight.numel();
  with_adamw_types(op.weight, op.gradient, [&]<class W, class G>(W, G) {
    const Parameter<W, G> to{
        op.weight.as<W>(),
        op.compute.empty() ? nullptr : op.compute.as<bf16>(),
        op.gradient.as<G>(),
        {op.code_m.as<uint8_t>(), op.code_v.as<uint8_t>(), op.absmax_m.as<float>(), op.absmax_v.as<float>()}};
    const auto step_one = op.options.order == AdamW::Order::pytorch
                              ? step_block<AdamW::Order::pytorch, W, G>
                              : step_block<AdamW::Order::bitsandbytes, W, G>;
    pool_.parallel_for((n + kBlock - 1) / kBlock, kBlocks, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) step_one(to, b, std::min(kBlock, n - b * kBlock), step, rounding);
    });
  });
}

}  // namespace moe::cpu
