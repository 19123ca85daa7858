// SPDX-License-Identifier: MIT
// Shapes, types and costs of the sums, the clipping factor and both AdamW steps.
#include "ops/optimizer.h"

#include "ops/cost.h"
#include "ops/expect.h"

namespace moe {
namespace {

// What both steps take alike. Returns n.
template <class Op>
int64_t check_adamw(const Op& op) {
  const int64_t n = op.weight.numel();
  const auto f32_or_bf16 = [&](const Tensor& tensor, const char* what) {
    expect_numel(tensor, what, tensor.dtype() == DType::bf16 ? DType::bf16 : DType::f32, n);
  };
  f32_or_bf16(op.weight, "adamw: weight");
  f32_or_bf16(op.gradient, "adamw: gradient");
  if (!op.compute.empty()) expect_numel(op.compute, "adamw: compute", DType::bf16, n);
  CHECK(op.compute.empty() || op.weight.dtype() == DType::f32, "adamw: a bf16 weight has no other copy");
  expect(op.scale_1, "adamw: scale", DType::f32, {1});
  const AdamW& options = op.options;
  CHECK(options.step >= 1, "adamw: steps count from 1");
  CHECK(options.first >= 0 && options.first % kAdamBlock == 0, "adamw: the first element begins a block");
  // Counters of ops/stochastic_rounding.h.
  CHECK(op.weight.dtype() == DType::f32 ||
            (options.step < (int64_t{1} << 32) && options.first + n <= (int64_t{1} << 35)),
        "adamw: out of random numbers");
  return n;
}

}  // namespace

void Sum::check() const {
  expect(sum_1, "sum: sum", DType::f64, {1});
  expect_numel(x, "sum: x", DType::f32, x.numel());
}

double Sum::bytes() const {
  return bytes_of({sum_1, x});
}

void SumSquares::check() const {
  expect(sum_1, "sum_squares: sum", DType::f64, {1});
  expect_numel(x, "sum_squares: x", x.dtype() == DType::bf16 ? DType::bf16 : DType::f32, x.numel());
}

double SumSquares::bytes() const {
  return bytes_of({sum_1, x});
}

void ClipScale::check() const {
  expect(scale_1, "clip_scale: scale", DType::f32, {1});
  expect_numel(squares_n, "clip_scale: squares", DType::f64, squares_n.numel());
  CHECK(max_norm >= 0, "clip_scale: max_norm must not be negative");
  CHECK(loss_scale > 0, "clip_scale: loss_scale must be positive");
}

double ClipScale::bytes() const {
  return bytes_of({scale_1, squares_n});
}

void SpikeGuard::check() const {
  expect(scale_1, "spike_guard: scale", DType::f32, {1});
  CHECK(history_2H.rank() == 2, "spike_guard: history must be [2, H]");
  expect(history_2H, "spike_guard: history", DType::f64, {2, history_2H.dim(1)});
  expect(seen_1, "spike_guard: seen", DType::i32, {1});
  expect(loss_sum_1, "spike_guard: loss", DType::f64, {1});
  expect_numel(squares_n, "spike_guard: squares", DType::f64, squares_n.numel());
  CHECK(history_2H.dim(1) >= 4, "spike_guard: a spread takes two steps, and half of the history");
  CHECK(targets > 0 && loss_scale > 0 && sigma > 0, "spike_guard: numbers must be positive");
}

double SpikeGuard::bytes() const {
  return bytes_of({scale_1, history_2H, seen_1, loss_sum_1, squares_n});
}

void AdamW8::check() const {
  const int64_t n = check_adamw(*this);
  const int64_t blocks = (n + kAdamBlock - 1) / kAdamBlock;
  expect_numel(code_m, "adamw8: code_m", DType::u8, n);
  expect_numel(code_v, "adamw8: code_v", DType::u8, n);
  expect_numel(absmax_m, "adamw8: absmax_m", DType::f32, blocks);
  expect_numel(absmax_v, "adamw8: absmax_v", DType::f32, blocks);
}

double AdamW8::bytes() const {
  return bytes_of({weight, weight, compute, gradient, code_m, code_m, code_v, code_v, absmax_m, absmax_m,
                   absmax_v, absmax_v, scale_1});
}

void AdamW32::check() const {
  const int64_t n = check_adamw(*this);
  expect_numel(m, "adamw32: m", DType::f32, n);
  expect_numel(v, "adamw32: v", DType::f32, n);
}

double AdamW32::bytes() const {
  return bytes_of({weight, weight, compute, gradient, m, m, v, v, scale_1});
}

}  // namespace moe
