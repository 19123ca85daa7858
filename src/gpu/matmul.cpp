// SPDX-License-Identifier: MIT
#include "gpu/gpu_ops.h"

namespace moe::gpu {

void GpuOps::matmul(Matmul op) {
  op.check();
  gemm_.multiply(op.c_MN, op.a, op.b, op.layout, op.accumulate ? op.c_MN : Tensor());
}

void GpuOps::matmul_add(MatmulAdd op) {
  op.check();
  gemm_.multiply(op.c_MN, op.a_MK, op.b_NK, MatmulLayout::NT, op.addend_MN);
}

}  // namespace moe::gpu
