// SPDX-License-Identifier: MIT
#include "cpu/cpu_ops.h"

namespace moe::cpu {
namespace {

constexpr int64_t kGrain = 1 << 15;

template <class T>
void add_to(ThreadPool& pool, Tensor& y, const Tensor& x) {
  T* out = y.as<T>();
  const T* in = x.as<T>();
  pool.parallel_for(y.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] += in[i];
  });
}

}  // namespace

void CpuOps::add(Tensor y, const Tensor& x) {
  CHECK(y.numel() == x.numel() && y.dtype() == x.dtype(), y.describe() + " += " + x.describe());
  if (y.dtype() == DType::i32) return add_to<int32_t>(pool_, y, x);
  add_to<float>(pool_, y, x);
}

}  // namespace moe::cpu
