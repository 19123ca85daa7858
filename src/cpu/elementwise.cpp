// SPDX-License-Identifier: MIT
// fill, copy, cast and add: nothing but memory traffic, cut into pieces that fit a second-level cache.
#include "ops/contracts/elementwise.h"

#include <cstring>

#include "cpu/cpu_ops.h"
#include "cpu/vector.h"

namespace moe::cpu {
namespace {

constexpr int64_t kGrain = 1 << 16;  // elements

template <class T>
void fill_with(ThreadPool& pool, Tensor& x, T value) {
  T* out = x.as<T>();
  pool.parallel_for(x.numel(), kGrain,
                    [&](int64_t begin, int64_t end) { std::fill(out + begin, out + end, value); });
}

template <class T>
void add_to(ThreadPool& pool, Tensor& y, const Tensor& x) {
  T* out = y.as<T>();
  const T* in = x.as<T>();
  pool.parallel_for(y.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] += in[i];
  });
}

}  // namespace

void CpuOps::fill(Tensor x, float value) {
  contracts::check_fill(x);
  switch (x.dtype()) {
    case DType::f32:
      return fill_with(pool_, x, value);
    case DType::bf16:
      return fill_with(pool_, x, bf16(value));
    case DType::f16:
      return fill_with(pool_, x, f16(value));
    case DType::f64:
      return fill_with(pool_, x, static_cast<double>(value));
    case DType::i32:
      return fill_with(pool_, x, static_cast<int32_t>(value));
    case DType::u8:
      return fill_with(pool_, x, static_cast<uint8_t>(value));
  }
}

void CpuOps::copy(Tensor y, const Tensor& x) {
  contracts::check_copy(y, x);
  char* out = static_cast<char*>(y.data());
  const char* in = static_cast<const char*>(x.data());
  pool_.parallel_for(x.bytes(), 4 * kGrain, [&](int64_t begin, int64_t end) {
    std::memcpy(out + begin, in + begin, static_cast<size_t>(end - begin));
  });
}

void CpuOps::cast(Tensor y, const Tensor& x) {
  contracts::check_cast(y, x);
  if (y.dtype() == x.dtype()) return copy(y, x);
  if (y.dtype() == DType::f32)
    return with_16_bits(x.dtype(), [&](auto type) {
      float* out = y.as<float>();
      const auto* in = x.as<decltype(type)>();
      pool_.parallel_for(x.numel(), kGrain,
                         [&](int64_t begin, int64_t end) { load_row(out + begin, in + begin, end - begin); });
    });
  with_16_bits(y.dtype(), [&](auto type) {
    auto* out = y.as<decltype(type)>();
    const float* in = x.as<float>();
    pool_.parallel_for(x.numel(), kGrain,
                       [&](int64_t begin, int64_t end) { store_row(out + begin, in + begin, end - begin); });
  });
}

void CpuOps::add(Tensor y, const Tensor& x) {
  contracts::check_add(y, x);
  if (y.dtype() == DType::i32) return add_to<int32_t>(pool_, y, x);
  add_to<float>(pool_, y, x);
}

}  // namespace moe::cpu
