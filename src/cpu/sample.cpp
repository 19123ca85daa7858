// SPDX-License-Identifier: MIT
// sample: a task a row.
#include <limits>

#include "cpu/cpu_ops.h"
#include "cpu/vector.h"

namespace moe::cpu {

void CpuOps::sample(Sample op) {
  op.check();
  const int64_t width = op.x_NV.dim(1);
  with_type(op.x_NV.dtype(), [&](auto type) {
    using T = decltype(type);
    pool_.parallel_for(op.x_NV.dim(0), 1, [&](int64_t n, int64_t) {
      auto lease = scratch_.borrow(Scratch::padded<float>(op.columns));
      float* const logits = lease.take<float>(op.columns);
      load_row(logits, op.x_NV.as<T>() + n * width, op.columns);
      if (op.except >= 0 && op.except < op.columns)
        logits[op.except] = -std::numeric_limits<float>::infinity();
      op.id_N.as<int32_t>()[n] = sample_row({logits, static_cast<size_t>(op.columns)}, op.rule,
                                            static_cast<uint32_t>(op.draw_N.as<int32_t>()[n]));
    });
  });
}

}  // namespace moe::cpu
