// SPDX-License-Identifier: MIT
// The router's matrix products, in f32 whatever the type of x: an x of 16 bits is widened into scratch first.
#include "cpu/cpu_ops.h"
#include "cpu/vector.h"

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

void CpuOps::router_logits_forward(RouterLogitsForward op) {
  op.check();
  if (op.x_ND.dtype() == DType::f32) return matmul({op.logits_NE, op.x_ND, op.w_ED, MatmulLayout::NT, false});
  auto lease = scratch_.borrow(Scratch::padded<float>(op.x_ND.numel()));
  float* x = lease.take<float>(op.x_ND.numel());
  widen(pool_, x, op.x_ND);
  matmul({op.logits_NE, Tensor(x, DType::f32, {op.x_ND.dim(0), op.x_ND.dim(1)}), op.w_ED, MatmulLayout::NT,
          false});
}

void CpuOps::router_logits_backward(RouterLogitsBackward op) {
  op.check();
  if (op.x_ND.dtype() == DType::f32) {
    matmul({op.dx_ND, op.dlogits_NE, op.w_ED, MatmulLayout::NN, op.add_to_dx});
    return matmul({op.dw_ED, op.dlogits_NE, op.x_ND, MatmulLayout::TN, true});
  }
  const int64_t count = op.x_ND.numel();
  auto lease = scratch_.borrow(Scratch::padded<float>(count));
  float* wide = lease.take<float>(count);
  const Tensor wide_ND(wide, DType::f32, {op.x_ND.dim(0), op.x_ND.dim(1)});
  widen(pool_, wide, op.x_ND);
  matmul({op.dw_ED, op.dlogits_NE, wide_ND, MatmulLayout::TN, true});
  matmul({wide_ND, op.dlogits_NE, op.w_ED, MatmulLayout::NN, false});  // x is not needed any more
  with_16_bits(op.dx_ND.dtype(), [&](auto type) {
    auto* dx = op.dx_ND.as<decltype(type)>();
    pool_.parallel_for(count, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        dx[i] = from_float<decltype(type)>(op.add_to_dx ? to_float(dx[i]) + wide[i] : wide[i]);
    });
  });
}

}  // namespace moe::cpu
