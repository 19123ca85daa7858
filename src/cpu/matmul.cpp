// SPDX-License-Identifier: MIT
// matmul: one task per tile of the output.
#include <algorithm>

#include "cpu/cpu_ops.h"
#include "cpu/tiles.h"

namespace moe::cpu {

void CpuOps::matmul(Matmul op) {
  op.check();
  const Product whole = product(op.c_MN, op.a, op.b, op.layout, op.accumulate);
  const Tiles tiles = cut(whole.m, whole.n);
  pool_.parallel_for(tiles.count(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) gemm_.multiply(tile(whole, tiles, i));
  });
}

void CpuOps::matmul_add(MatmulAdd op) {
  op.check();
  copy({op.c_MN, op.addend_MN});
  matmul({op.c_MN, op.a_MK, op.b_NK, MatmulLayout::NT, true});
}

}  // namespace moe::cpu
