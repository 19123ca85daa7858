// SPDX-License-Identifier: MIT
// grouped_matmul: one task per tile of an expert's output. Forward and data gradient cut the rows of each
// expert; the weight gradient sums over them and cuts the expert's weight.
#include <algorithm>

#include "cpu/cpu_ops.h"
#include "cpu/tiles.h"

namespace moe::cpu {
namespace {

struct Task {
  int32_t expert, tile;
};

// The expert's own product: its rows of a (and of c or b), its block of the weights (or their gradient).
Product of_expert(Tensor c, const Tensor& a, const Tensor& b, const int32_t* offset, int64_t expert,
                  MatmulLayout layout, bool accumulate) {
  const int64_t begin = offset[expert], end = offset[expert + 1];
  const auto block = [&](const Tensor& weights_E) {
    return weights_E.rows(expert, expert + 1).reshape({weights_E.dim(1), weights_E.dim(2)});
  };
  if (layout == MatmulLayout::TN)
    return product(block(c), a.rows(begin, end), b.rows(begin, end), layout, accumulate);
  return product(c.rows(begin, end), a.rows(begin, end), block(b), layout, accumulate);
}

}  // namespace

void CpuOps::grouped_matmul(GroupedMatmul op) {
  op.check();
  const int64_t experts = op.offset_E1.dim(0) - 1;
  const auto* offset = op.offset_E1.as<int32_t>();
  CHECK(offset[0] == 0 && std::is_sorted(offset, offset + experts + 1) && offset[experts] <= op.a.dim(0));

  const auto tiles_of = [&](const Product& whole) { return cut(whole.m, whole.n, experts); };
  int64_t count = 0;
  for (int64_t e = 0; e < experts; ++e)
    count += tiles_of(of_expert(op.c, op.a, op.b, offset, e, op.layout, op.accumulate)).count();
  auto lease = scratch_.borrow(Scratch::padded<Task>(count));
  auto* tasks = lease.take<Task>(count);
  for (int64_t e = 0, next = 0; e < experts; ++e) {
    const int64_t tiles = tiles_of(of_expert(op.c, op.a, op.b, offset, e, op.layout, op.accumulate)).count();
    for (int64_t i = 0; i < tiles; ++i) tasks[next++] = {static_cast<int32_t>(e), static_cast<int32_t>(i)};
  }
  pool_.parallel_for(count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Product whole = of_expert(op.c, op.a, op.b, offset, tasks[i].expert, op.layout, op.accumulate);
      gemm_.multiply(tile(whole, tiles_of(whole), tasks[i].tile));
    }
  });
}

}  // namespace moe::cpu
