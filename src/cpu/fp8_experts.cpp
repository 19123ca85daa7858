// SPDX-License-Identifier: MIT
// The experts' FP8 products, from bf16 copies of their operands.
#include "cpu/cpu_ops.h"
#include "cpu/fp8.h"

namespace moe::cpu {
namespace {

int64_t bytes_of_widened(const ScaledRows& tokens, const ScaledRows& weights, int64_t rows) {
  return Scratch::padded<bf16>(tokens.value.numel()) + Scratch::padded<bf16>(weights.value.numel()) +
         Scratch::padded<bf16>(rows * tokens.value.dim(1));
}

// run_widened() with memory of the lease.
template <class Op>
void widen(ThreadPool& pool, Ops& ops, Scratch::Lease& memory, const Op& op, const ScaledRows& tokens,
           const ScaledRows& weights, int64_t rows) {
  const int64_t d = tokens.value.dim(1);
  const Tensor x = widened(pool, memory.take<bf16>(tokens.value.numel()), tokens);
  const Tensor w = widened(pool, memory.take<bf16>(weights.value.numel()), weights);
  run_widened(ops, op, x, w, Tensor(memory.take<bf16>(rows * d), DType::bf16, {rows, d}));
}

}  // namespace

void CpuOps::fp8_expert_up(Fp8ExpertUp op) {
  op.check();
  const int64_t rows = op.a_RF.dim(0);
  auto lease = scratch_.borrow(bytes_of_widened(op.x_ND, op.w_E2FD, rows));
  widen(pool_, *this, lease, op, op.x_ND, op.w_E2FD, rows);
}

void CpuOps::fp8_expert_down_backward(Fp8ExpertDownBackward op) {
  op.check();
  const int64_t rows = op.a_RF.dim(0);
  auto lease = scratch_.borrow(bytes_of_widened(op.dy_ND, op.w_EFD, rows));
  widen(pool_, *this, lease, op, op.dy_ND, op.w_EFD, rows);
}

}  // namespace moe::cpu
