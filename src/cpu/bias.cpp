// SPDX-License-Identifier: MIT
// The bias of a product: rows of it, and its gradient, which is a sum over all tokens: each block of kTokens
// sums its own in scratch, then the blocks are added in order.
#include "cpu/cpu_ops.h"
#include "cpu/partial_sums.h"
#include "cpu/vector.h"

namespace moe::cpu {
namespace {

constexpr int64_t kTokens = 32;

}  // namespace

void CpuOps::bias_forward(BiasForward op) {
  op.check();
  const int64_t width = op.y_NP.dim(1);
  const float* bias = op.bias_P.as<float>();
  with_type(op.y_NP.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T* y = op.y_NP.as<T>();
    pool_.parallel_for(op.y_NP.dim(0), kTokens, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) store_row(y + t * width, bias, width);
    });
  });
}

void CpuOps::bias_backward(BiasBackward op) {
  op.check();
  const int64_t width = op.dy_NP.dim(1);
  PartialSums partial(pool_, scratch_, op.dy_NP.dim(0), kTokens, width);
  with_type(op.dy_NP.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* dy = op.dy_NP.as<T>();
    partial.for_each_block([&](float* sum, int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t)
        for (int64_t i = 0; i < width; ++i) sum[i] += to_float(dy[t * width + i]);
    });
  });
  partial.add_to(op.dbias_P.as<float>(), 0, width);
}

}  // namespace moe::cpu
