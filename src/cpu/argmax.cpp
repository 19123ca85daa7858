// SPDX-License-Identifier: MIT
// argmax: a task a row.
#include <limits>

#include "cpu/cpu_ops.h"
#include "cpu/vector.h"

namespace moe::cpu {

void CpuOps::argmax(Argmax op) {
  op.check();
  const int64_t width = op.x_NV.dim(1);
  with_type(op.x_NV.dtype(), [&](auto type) {
    using T = decltype(type);
    pool_.parallel_for(op.x_NV.dim(0), 1, [&](int64_t n, int64_t) {
      const T* const x = op.x_NV.as<T>() + n * width;
      int64_t best = op.except == 0 ? 1 : 0;
      float largest = -std::numeric_limits<float>::infinity();
      for (int64_t i = best; i < op.columns; ++i)
        if (i != op.except && to_float(x[i]) > largest) largest = to_float(x[i]), best = i;
      op.index_N.as<int32_t>()[n] = static_cast<int32_t>(best);
    });
  });
}

}  // namespace moe::cpu
