// SPDX-License-Identifier: MIT
// FP8 operands as other hardware has them: this has no such products. They are computed from bf16 copies,
// which hold a scaled FP8 number exactly.
#include "cpu/fp8.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/fp8.h"
#include "cpu/cpu_ops.h"
#include "cpu/vector.h"

namespace moe::cpu {
namespace {

constexpr int64_t kRows = 8;  // of a task

template <class Body>
void with_fp8(DType dtype, Body&& body) {
  CHECK(is_fp8(dtype));
  if (dtype == DType::e4m3) return body(e4m3{});
  body(e5m2{});
}

template <class Q>
constexpr Fp8Format format_of = kE4M3;
template <>
inline constexpr Fp8Format format_of<e5m2> = kE5M2;

// n numbers, `stride` apart. Returns the scale.
template <class Q, class T>
float quantise(Q* q, const T* x, int64_t stride, int64_t n) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < n; ++i)
    largest = std::max(largest, std::bit_cast<uint32_t>(to_float(x[i * stride])) & 0x7fffffffU);
  const float scale = fp8_scale<format_of<Q>>(largest);
  const float inverse = fp8_inverse_scale(scale);
  for (int64_t i = 0; i < n; ++i) q[i] = Q(to_float(x[i * stride]) * inverse);
  return scale;
}

// What the rows say of themselves: row r of `rows` is `width` numbers from x + first(r) on, `stride` apart.
template <class Q, class T, class First>
void take_census(Tensor census_4, const Q* q, const T* x, const float* scale, int64_t rows, int64_t width,
                 int64_t stride, First first) {
  if (census_4.empty()) return;
  int32_t* const census = census_4.as<int32_t>();
  const auto entry = [&](Census which) -> int32_t& { return census[static_cast<size_t>(which)]; };
  for (int64_t r = 0; r < rows; r += kCensusRows)
    for (int64_t i = 0; i < width; ++i) {
      const float value = to_float(x[first(r) + i * stride]);
      const float size = std::fabs(value * fp8_inverse_scale(scale[r]));
      entry(Census::largest) = std::max(entry(Census::largest), std::bit_cast<int32_t>(value) & 0x7fffffff);
      entry(Census::nonzero) += value != 0;
      entry(Census::flushed) += value != 0 && (q[r * width + i].bits & 0x7fU) == 0;
      entry(Census::saturated) += !(size <= fp8_value<format_of<Q>>(format_of<Q>.largest));
    }
}

}  // namespace

void quantise_by(ThreadPool& pool, ScaledRows rows, const Tensor& x, float largest) {
  const int64_t n = x.dim(1);
  with_fp8(rows.value.dtype(), [&](auto to) {
    with_type(x.dtype(), [&](auto from) {
      using Q = decltype(to);
      using T = decltype(from);
      Q* const q = rows.value.as<Q>();
      const T* const in = x.as<T>();
      float* const scale = rows.scale.as<float>();
      const float one = fp8_scale<format_of<Q>>(std::bit_cast<uint32_t>(largest) & 0x7fffffffU);
      const float inverse = fp8_inverse_scale(one);
      pool.parallel_for(x.dim(0), kRows, [&](int64_t begin, int64_t end) {
        std::fill(scale + begin, scale + end, one);
        for (int64_t i = begin * n; i < end * n; ++i) q[i] = Q(to_float(in[i]) * inverse);
      });
      take_census(rows.census, q, in, scale, x.dim(0), n, 1, [=](int64_t r) { return r * n; });
    });
  });
}

Tensor widened(ThreadPool& pool, bf16* out, const ScaledRows& in) {
  const int64_t rows = in.scale.numel(), n = in.value.dim(in.value.rank() - 1);
  with_fp8(in.value.dtype(), [&](auto type) {
    const auto* const value = in.value.as<decltype(type)>();
    const float* const scale = in.scale.as<float>();
    pool.parallel_for(rows, kRows, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        for (int64_t i = r * n; i < (r + 1) * n; ++i) out[i] = bf16(scale[r] * static_cast<float>(value[i]));
    });
  });
  return {out, DType::bf16, in.value.shape(), in.value.rank()};
}

void CpuOps::quantise_rows(QuantiseRows op) {
  op.check();
  const int64_t n = op.x.dim(op.x.rank() - 1), rows = op.x.numel() / std::max<int64_t>(n, 1);
  with_fp8(op.q.value.dtype(), [&](auto to) {
    with_type(op.x.dtype(), [&](auto from) {
      auto* const q = op.q.value.as<decltype(to)>();
      const auto* const x = op.x.as<decltype(from)>();
      float* const scale = op.q.scale.as<float>();
      pool_.parallel_for(rows, kRows, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) scale[r] = quantise(q + r * n, x + r * n, 1, n);
      });
      take_census(op.q.census, q, x, scale, rows, n, 1, [=](int64_t r) { return r * n; });
    });
  });
}

void CpuOps::quantise_columns(QuantiseColumns op) {
  op.check();
  const int rank = op.x.rank();
  const int64_t columns = op.x.dim(rank - 1), rows = op.x.dim(rank - 2);
  const int64_t all = op.x.numel() / std::max<int64_t>(rows, 1);  // of all matrices
  with_fp8(op.q.value.dtype(), [&](auto to) {
    with_type(op.x.dtype(), [&](auto from) {
      auto* const q = op.q.value.as<decltype(to)>();
      const auto* const x = op.x.as<decltype(from)>();
      float* const scale = op.q.scale.as<float>();
      const auto first = [=](int64_t i) { return i / columns * rows * columns + i % columns; };
      pool_.parallel_for(all, kRows, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) scale[i] = quantise(q + i * rows, x + first(i), columns, rows);
      });
      take_census(op.q.census, q, x, scale, all, rows, columns, first);
    });
  });
}

void CpuOps::fp8_matmul(Fp8Matmul op) {
  op.check();
  const int64_t of_a = op.a_MK.value.numel(), of_b = op.b_NK.value.numel();
  auto lease = scratch_.borrow(Scratch::padded<bf16>(of_a) + Scratch::padded<bf16>(of_b));
  const Tensor a_MK = widened(pool_, lease.take<bf16>(of_a), op.a_MK),
               b_NK = widened(pool_, lease.take<bf16>(of_b), op.b_NK);
  if (!op.addend_MN.empty() && op.addend_MN.data() != op.c_MN.data()) copy({op.c_MN, op.addend_MN});
  matmul({op.c_MN, a_MK, b_NK, MatmulLayout::NT, !op.addend_MN.empty(), op.role});
}

}  // namespace moe::cpu
