// SPDX-License-Identifier: MIT
// The moving average of weights.
#include "cpu/cpu_ops.h"

namespace moe::cpu {

void CpuOps::average(Average op) {
  op.check();
  float* out = op.y.as<float>();
  const float* in = op.x.as<float>();
  pool_.parallel_for(op.y.numel(), 1 << 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] += op.share * (in[i] - out[i]);
  });
}

}  // namespace moe::cpu
