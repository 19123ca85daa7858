// SPDX-License-Identifier: MIT
// Shapes and types of both AdamW steps. Tensors are flat: shapes may differ where numbers of elements agree.
#pragma once

#include "ops/contracts/expect.h"
#include "ops/ops.h"

namespace moe::contracts {

inline constexpr int64_t kAdamBlock = 256;  // elements that share one absmax

// What both steps take alike. Returns n.
inline int64_t check_adamw(const Tensor& weight, const Tensor& compute, const Tensor& gradient,
                           const Tensor& scale_1, const AdamW& options) {
  const int64_t n = weight.numel();
  const auto f32_or_bf16 = [&](const Tensor& tensor, const char* what) {
    expect_numel(tensor, what, tensor.dtype() == DType::bf16 ? DType::bf16 : DType::f32, n);
  };
  f32_or_bf16(weight, "adamw: weight");
  f32_or_bf16(gradient, "adamw: gradient");
  if (!compute.empty()) expect_numel(compute, "adamw: compute", DType::bf16, n);
  CHECK(compute.empty() || weight.dtype() == DType::f32, "adamw: a bf16 weight has no other copy");
  expect(scale_1, "adamw: scale", DType::f32, {1});
  CHECK(options.step >= 1, "adamw: steps count from 1");
  CHECK(options.first >= 0 && options.first % kAdamBlock == 0, "adamw: the first element begins a block");
  // Counters of ops/stochastic_rounding.h.
  CHECK(weight.dtype() == DType::f32 ||
            (options.step < (int64_t{1} << 32) && options.first + n <= (int64_t{1} << 35)),
        "adamw: out of random numbers");
  return n;
}

inline void check_adamw8(const Tensor& weight, const Tensor& compute, const Tensor& gradient,
                         const Tensor& code_m, const Tensor& code_v, const Tensor& absmax_m,
                         const Tensor& absmax_v, const Tensor& scale_1, const AdamW& options) {
  const int64_t n = check_adamw(weight, compute, gradient, scale_1, options);
  const int64_t blocks = (n + kAdamBlock - 1) / kAdamBlock;
  expect_numel(code_m, "adamw8: code_m", DType::u8, n);
  expect_numel(code_v, "adamw8: code_v", DType::u8, n);
  expect_numel(absmax_m, "adamw8: absmax_m", DType::f32, blocks);
  expect_numel(absmax_v, "adamw8: absmax_v", DType::f32, blocks);
}

inline void check_adamw32(const Tensor& weight, const Tensor& compute, const Tensor& gradient,
                          const Tensor& m, const Tensor& v, const Tensor& scale_1, const AdamW& options) {
  const int64_t n = check_adamw(weight, compute, gradient, scale_1, options);
  expect_numel(m, "adamw32: m", DType::f32, n);
  expect_numel(v, "adamw32: v", DType::f32, n);
}

}  // namespace moe::contracts
