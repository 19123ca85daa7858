// SPDX-License-Identifier: MIT
#include "ops/contracts/matmul.h"
#include "gpu/gpu_ops.h"

namespace moe::gpu {

void GpuOps::matmul(Tensor c_MN, const Tensor& a, const Tensor& b, Form form, bool accumulate) {
  contracts::matmul(c_MN, a, b, form);
  gemm_.multiply(c_MN, a, b, form, accumulate);
}

}  // namespace moe::gpu
