// SPDX-License-Identifier: MIT
#include "gpu/few_rows_matmul.h"
#include "gpu/gpu_ops.h"

namespace moe::gpu {

void GpuOps::matmul(Matmul op) {
  op.check();
  if (op.layout == MatmulLayout::NT && !op.accumulate &&
      few_rows_matmul(stream_, limits(), {.c_MN = op.c_MN, .x_MK = op.a, .w_NK = op.b}))
    return;
  gemm_.multiply(op.c_MN, op.a, op.b, op.layout, op.accumulate ? op.c_MN : Tensor());
}

void GpuOps::matmul_add(MatmulAdd op) {
  op.check();
  if (few_rows_matmul(stream_, limits(),
                      {.c_MN = op.c_MN, .x_MK = op.a_MK, .w_NK = op.b_NK, .addend_MN = op.addend_MN}))
    return;
  gemm_.multiply(op.c_MN, op.a_MK, op.b_NK, MatmulLayout::NT, op.addend_MN);
}

void GpuOps::fp8_matmul(Fp8Matmul op) {
  op.check();
  gemm_.multiply(op.c_MN, op.a_MK, op.b_NK, op.addend_MN, op.fast);
}

}  // namespace moe::gpu
