// SPDX-License-Identifier: MIT
// fill, copy, cast, add and the logistic function: little but memory traffic, cut into pieces that fit a
// second-level cache.
#include <cstring>

#include "base/random.h"
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
void add_to(ThreadPool& pool, Tensor& y, const Tensor& x, T scale) {
  T* out = y.as<T>();
  const T* in = x.as<T>();
  pool.parallel_for(y.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] += scale * in[i];
  });
}

template <class T>
void fill_with_normals(ThreadPool& pool, FillNormal op) {
  const Random random(op.seed, op.stream);
  T* out = static_cast<T*>(op.x.data());
  constexpr int64_t kNormals = 1 << 14;  // some 50 ns each
  pool.parallel_for(op.x.numel(), kNormals, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      out[i] = static_cast<T>(op.std * random.normal(op.first + static_cast<uint64_t>(i)));
  });
}

}  // namespace

void CpuOps::fill_normal(FillNormal op) {
  op.check();
  if (op.x.dtype() == DType::bf16) return fill_with_normals<bf16>(pool_, op);
  fill_with_normals<float>(pool_, op);
}

void CpuOps::fill(Fill op) {
  op.check();
  switch (op.x.dtype()) {
    case DType::f32:
      return fill_with(pool_, op.x, op.value);
    case DType::bf16:
      return fill_with(pool_, op.x, bf16(op.value));
    case DType::f16:
      return fill_with(pool_, op.x, f16(op.value));
    case DType::f64:
      return fill_with(pool_, op.x, static_cast<double>(op.value));
    case DType::i32:
      return fill_with(pool_, op.x, static_cast<int32_t>(op.value));
    case DType::u8:
      return fill_with(pool_, op.x, static_cast<uint8_t>(op.value));
    case DType::e4m3:
      return fill_with(pool_, op.x, e4m3(op.value));
    case DType::e5m2:
      return fill_with(pool_, op.x, e5m2(op.value));
  }
}

void CpuOps::copy(Copy op) {
  op.check();
  char* out = static_cast<char*>(op.y.data());
  const char* in = static_cast<const char*>(op.x.data());
  pool_.parallel_for(op.x.bytes(), 4 * kGrain, [&](int64_t begin, int64_t end) {
    std::memcpy(out + begin, in + begin, static_cast<size_t>(end - begin));
  });
}

void CpuOps::cast(Cast op) {
  op.check();
  if (op.y.dtype() == op.x.dtype()) return copy({op.y, op.x});
  if (op.y.dtype() == DType::f32)
    return with_16_bits(op.x.dtype(), [&](auto type) {
      float* out = op.y.as<float>();
      const auto* in = op.x.as<decltype(type)>();
      pool_.parallel_for(op.x.numel(), kGrain,
                         [&](int64_t begin, int64_t end) { load_row(out + begin, in + begin, end - begin); });
    });
  with_16_bits(op.y.dtype(), [&](auto type) {
    auto* out = op.y.as<decltype(type)>();
    const float* in = op.x.as<float>();
    pool_.parallel_for(op.x.numel(), kGrain,
                       [&](int64_t begin, int64_t end) { store_row(out + begin, in + begin, end - begin); });
  });
}

void CpuOps::add(Add op) {
  op.check();
  if (op.y.dtype() == DType::i32) return add_to<int32_t>(pool_, op.y, op.x, 1);
  add_to<float>(pool_, op.y, op.x, op.scale);
}

void CpuOps::sigmoid(Sigmoid op) {
  op.check();
  float* y = op.y.as<float>();
  const float* x = op.x.as<float>();
  pool_.parallel_for(op.x.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = cpu::sigmoid(x[i]);
  });
}

void CpuOps::sigmoid_backward(SigmoidBackward op) {
  op.check();
  float* d = op.d.as<float>();
  const float* y = op.y.as<float>();
  pool_.parallel_for(op.y.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) d[i] *= y[i] * (1.0F - y[i]);
  });
}

}  // namespace moe::cpu
