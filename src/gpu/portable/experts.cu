// SPDX-License-Identifier: MIT
// The experts' operations: one pass each where the GPU has kernels for it, else what Ops makes of others.
#include "gpu/gpu_ops.h"
#include "gpu/sm90/experts.h"
#include "gpu/sm90/grouped_matmul.h"

namespace moe::gpu {
namespace {

constexpr Schedule kUp = Schedule::cooperative, kGradient = Schedule::cooperative;

}  // namespace

void GpuOps::expert_up(ExpertUp op) {
  op.check();
  const bool taken = sm90_ && op.x_ND.dtype() == DType::bf16 &&
                     sm90_takes({op.h_R2F, op.a_RF, op.x_ND, op.w_E2FD}, op.plan.count_E.numel());
  if (!taken) return Ops::expert_up(op);
  sm90_expert_up(stream_, num_sms_, op, kUp);
}

void GpuOps::expert_down_backward(ExpertDownBackward op) {
  op.check();
  const bool taken = sm90_ && op.dy_ND.dtype() == DType::bf16 && op.dy_ND.dim(1) % 64 == 0 &&
                     sm90_takes({op.dh_R2F, op.a_RF, op.dy_ND, op.w_EDF, op.h_R2F}, op.plan.count_E.numel());
  if (!taken) return Ops::expert_down_backward(op);
  float* const partial =
      workspace_.carve().take<float>(expert_down_backward_partials(op.a_RF.dim(0), op.a_RF.dim(1)));
  sm90_expert_down_backward(stream_, num_sms_, op, partial);
}

void GpuOps::expert_down_gradient(ExpertDownGradient op) {
  op.check();
  const bool taken = sm90_ && op.dy_ND.dtype() == DType::bf16 &&
                     sm90_takes({op.dw_EDF, op.dy_ND, op.a_RF}, op.plan.count_E.numel());
  if (!taken) return Ops::expert_down_gradient(op);
  sm90_expert_down_gradient(stream_, num_sms_, op, kGradient);
}

void GpuOps::expert_up_gradient(ExpertUpGradient op) {
  op.check();
  const bool taken = sm90_ && op.x_ND.dtype() == DType::bf16 &&
                     sm90_takes({op.dw_E2FD, op.dh_R2F, op.x_ND}, op.plan.count_E.numel());
  if (!taken) return Ops::expert_up_gradient(op);
  sm90_expert_up_gradient(stream_, num_sms_, op, kGradient);
}

}  // namespace moe::gpu
