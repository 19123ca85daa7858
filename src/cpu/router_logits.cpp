// SPDX-License-Identifier: MIT
// The router's matrix products, in f32 whatever the type of x: an x of 16 bits is widened into scratch first.
#include "cpu/cpu_ops.h"
#include "cpu/vector.h"
#include "ops/contracts/router.h"

namespace moe::cpu {
namespace {

constexpr int64_t kGrain = 1 << 14;  // elements

void widen(ThreadPool& pool, float* out, const Tensor& x) {
  with_16_bits(x.dtype(), [&](auto type) {
    const auto* in = x.as<decltype(type)>();
    pool.parallel_for(x.numel(), kGrain,
                      [&](int64_t begin, int64_t end) { load_row(out + begin, in + begin, end - begin); });
  });
}

}  // namespace

void CpuOps::router_logits_forward(Tensor logits_NE, const Tensor& x_ND, const Tensor& w_ED) {
  contracts::check_router_logits_forward(logits_NE, x_ND, w_ED);
  if (x_ND.dtype() == DType::f32) return matmul(logits_NE, x_ND, w_ED, MatmulLayout::NT, false);
  auto lease = scratch_.borrow(Scratch::padded<float>(x_ND.numel()));
  float* x = lease.take<float>(x_ND.numel());
  widen(pool_, x, x_ND);
  matmul(logits_NE, Tensor(x, DType::f32, {x_ND.dim(0), x_ND.dim(1)}), w_ED, MatmulLayout::NT, false);
}

void CpuOps::router_logits_backward(Tensor dx_ND, Tensor dw_ED, const Tensor& dlogits_NE, const Tensor& x_ND,
                                    const Tensor& w_ED) {
  contracts::check_router_logits_backward(dx_ND, dw_ED, dlogits_NE, x_ND, w_ED);
  if (x_ND.dtype() == DType::f32) {
    matmul(dx_ND, dlogits_NE, w_ED, MatmulLayout::NN, true);
    return matmul(dw_ED, dlogits_NE, x_ND, MatmulLayout::TN, true);
  }
  const int64_t count = x_ND.numel();
  auto lease = scratch_.borrow(Scratch::padded<float>(count));
  float* wide = lease.take<float>(count);
  const Tensor wide_ND(wide, DType::f32, {x_ND.dim(0), x_ND.dim(1)});
  widen(pool_, wide, x_ND);
  matmul(dw_ED, dlogits_NE, wide_ND, MatmulLayout::TN, true);
  matmul(wide_ND, dlogits_NE, w_ED, MatmulLayout::NN, false);  // x is not needed any more
  with_16_bits(dx_ND.dtype(), [&](auto type) {
    auto* dx = dx_ND.as<decltype(type)>();
    pool_.parallel_for(count, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) dx[i] = from_float<decltype(type)>(to_float(dx[i]) + wide[i]);
    });
  });
}

}  // namespace moe::cpu
