// SPDX-License-Identifier: MIT
#include "ops/contracts/matmul.h"
#include "gpu/gpu_ops.h"

namespace moe::gpu {

void GpuOps::matmul(Tensor c_MN, const Tensor& a, const Tensor& b, MatmulLayout layout, bool accumulate) {
  contracts::matmul(c_MN, a, b, layout);
  gemm_.multiply(c_MN, a, b, layout, accumulate ? c_MN : Tensor());
}

void GpuOps::matmul_add(Tensor c_MN, const Tensor& addend_MN, const Tensor& a_MK, const Tensor& b_NK) {
  contracts::matmul_add(c_MN, addend_MN, a_MK, b_NK);
  gemm_.multiply(c_MN, a_MK, b_NK, MatmulLayout::NT, addend_MN);
}

}  // namespace moe::gpu
