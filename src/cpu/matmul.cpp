// SPDX-License-Identifier: MIT
// matmul: one task per tile of the output.
#include <algorithm>

#include "cpu/cpu_ops.h"
#include "cpu/tiles.h"
#include "ops/contracts/matmul.h"

namespace moe::cpu {

void CpuOps::matmul(Tensor c_MN, const Tensor& a, const Tensor& b, MatmulLayout layout, bool accumulate) {
  contracts::matmul(c_MN, a, b, layout);
  const Product whole = product(c_MN, a, b, layout, accumulate);
  const Tiles tiles = cut(whole.m, whole.n);
  pool_.parallel_for(tiles.count(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) gemm_.multiply(tile(whole, tiles, i));
  });
}

void CpuOps::matmul_add(Tensor c_MN, const Tensor& addend_MN, const Tensor& a_MK, const Tensor& b_NK) {
  contracts::matmul_add(c_MN, addend_MN, a_MK, b_NK);
  copy(c_MN, addend_MN);
  matmul(c_MN, a_MK, b_NK, MatmulLayout::NT, true);
}

}  // namespace moe::cpu
