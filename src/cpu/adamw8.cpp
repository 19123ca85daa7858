// SPDX-License-Identifier: MIT
// AdamW with 8-bit moments. A block of 256 elements is widened into local arrays, moved by one step, and its
// moments are quantised again with their new largest magnitudes. Weights use the moments before they are
// rounded.
#include "ops/contracts/adamw8.h"

#include <algorithm>
#include <cmath>

#include "cpu/cpu_ops.h"
#include "cpu/exact_math.h"
#include "cpu/vector.h"
#include "ops/adamw_step.h"
#include "ops/quantise8.h"

namespace moe::cpu {
namespace {

constexpr int64_t kBlock = contracts::kAdamBlock;
constexpr int64_t kBlocks = 64;  // per chunk

struct State8 {
  uint8_t *code_m, *code_v;
  float *absmax_m, *absmax_v;
};

void decode(float* __restrict out, const uint8_t* __restrict code, const adamw8::Map& map, float absmax,
            int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] = map[code[i]] * absmax;
}

float largest_magnitude(const float* x, int64_t count) {
  float magnitude[kBlock];
  for (int64_t i = 0; i < count; ++i) magnitude[i] = std::abs(x[i]);
  return max_of(magnitude, count);
}

// Codes of a block without any magnitude are those that bitsandbytes' search gives for 0/0: they decode to 0.
void encode_m(uint8_t* __restrict code, float& absmax, const float* __restrict m, int64_t count) {
  absmax = largest_magnitude(m, count);
  if (absmax == 0) {
    for (int64_t i = 0; i < count; ++i) code[i] = std::signbit(m[i]) ? 0 : 255;
    return;
  }
  const float divisor = absmax;
  for (int64_t i = 0; i < count; ++i) code[i] = adamw8::code_signed(adamw8::kQuantiseSigned, m[i] / divisor);
}

void encode_v(uint8_t* __restrict code, float& absmax, const float* __restrict v, int64_t count) {
  absmax = largest_magnitude(v, count);
  const float divisor = absmax == 0 ? 1.0F : absmax;
  for (int64_t i = 0; i < count; ++i)
    code[i] = adamw8::code_unsigned(adamw8::kQuantiseUnsigned, v[i] / divisor);
}

template <AdamW::Order order>
void step_block(float* __restrict weight, float* __restrict gradient, const State8& state, int64_t block,
                int64_t count, const AdamWStep& step) {
  float m[kBlock] = {}, v[kBlock] = {};
  const int64_t at = block * kBlock;
  decode(m, state.code_m + at, adamw8::kSigned, state.absmax_m[block], count);
  decode(v, state.code_v + at, adamw8::kUnsigned, state.absmax_v[block], count);
  for (int64_t i = 0; i < count; ++i)
    adamw_element<order, ExactMath>(weight[i], m[i], v[i], gradient[i], step);
  std::fill(gradient, gradient + count, 0.0F);
  encode_m(state.code_m + at, state.absmax_m[block], m, count);
  encode_v(state.code_v + at, state.absmax_v[block], v, count);
}

}  // namespace

void CpuOps::adamw8(Tensor weight, Tensor compute, Tensor gradient, Tensor code_m, Tensor code_v,
                    Tensor absmax_m, Tensor absmax_v, const Tensor& scale_1, const AdamW& options) {
  contracts::check_adamw8(weight, compute, gradient, code_m, code_v, absmax_m, absmax_v, scale_1, options);
  const float scale = scale_1.as<float>()[0];
  if (scale < 0) return fill(gradient, 0);
  const AdamWStep step(options, scale);
  const State8 state{code_m.as<uint8_t>(), code_v.as<uint8_t>(), absmax_m.as<float>(), absmax_v.as<float>()};
  float *w = weight.as<float>(), *g = gradient.as<float>();
  bf16* copy = compute.empty() ? nullptr : compute.as<bf16>();
  const int64_t n = weight.numel();
  const auto step_one = options.order == AdamW::Order::pytorch ? step_block<AdamW::Order::pytorch>
                                                               : step_block<AdamW::Order::bitsandbytes>;
  pool_.parallel_for((n + kBlock - 1) / kBlock, kBlocks, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t at = b * kBlock, count = std::min(kBlock, n - at);
      step_one(w + at, g + at, state, b, count, step);
      if (copy != nullptr) store_row(copy + at, w + at, count);
    }
  });
}

}  // namespace moe::cpu
