// SPDX-License-Identifier: MIT
// Blocks of up to 2 rows of a and 4 of b, their 8 sums in registers of 8 partial sums each. A block of b is
// read from memory once, for all rows of a.
#include "cpu/gemv.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.h"
#include "cpu/vector.h"

namespace moe::cpu {
namespace {

constexpr int64_t kWidth = 8;
constexpr int kRows = 2, kColumns = 4;

// Vectors of the compilers' own: the same sums on any processor. Never passed or returned by value, which
// depends on the processor that is compiled for. The second of each kind is how it lies in memory.
using Floats = float __attribute__((vector_size(kWidth * sizeof(float))));
using FloatsAt [[gnu::may_alias, gnu::aligned(sizeof(float))]] = Floats;
using Words = uint32_t __attribute__((vector_size(kWidth * sizeof(uint32_t))));
using Halves = uint16_t __attribute__((vector_size(kWidth * sizeof(uint16_t))));
using HalvesAt [[gnu::may_alias, gnu::aligned(sizeof(uint16_t))]] = Halves;

inline void load(Floats& values, const float* x) {
  values = *reinterpret_cast<const FloatsAt*>(x);
}
inline void load(Floats& values, const bf16* x) {
  const Words words = __builtin_convertvector(*reinterpret_cast<const HalvesAt*>(x), Words) << 16;
  values = reinterpret_cast<Floats>(words);  // the same bits
}
inline void load(Floats& values, const f16* x) {
  std::array<float, kWidth> wide;
  load_row(wide.data(), x, kWidth);
  load(values, wide.data());
}

// The first `count` values, then zeros.
template <class T>
void load_some(Floats& values, const T* x, int64_t count) {
  std::array<float, kWidth> wide{};
  load_row(wide.data(), x, count);
  load(values, wide.data());
}

float total(const Floats& partial) {
  std::array<float, kWidth> sums;
  std::memcpy(sums.data(), &partial, sizeof(sums));
  for (size_t width = kWidth / 2; width > 0; width /= 2)
    for (size_t i = 0; i < width; ++i) sums[i] += sums[i + width];
  return sums[0];
}

// M x N dot products, into c.
template <int M, int N, class T, class Out>
void block(const Product& p, int64_t row, int64_t column) {
  const T* a = static_cast<const T*>(p.a) + row * p.a_stride;
  const T* b = static_cast<const T*>(p.b) + column * p.b_stride;
  const int64_t a_stride = p.a_stride, b_stride = p.b_stride;
  Floats sum[M][N] = {};
  const auto add = [&](auto&& get) {
    Floats b_values[N], a_values;
#pragma GCC unroll 4
    for (int j = 0; j < N; ++j) get(b_values[j], b + j * b_stride);
#pragma GCC unroll 4
    for (int i = 0; i < M; ++i) {
      get(a_values, a + i * a_stride);
#pragma GCC unroll 4
      for (int j = 0; j < N; ++j) sum[i][j] += a_values * b_values[j];
    }
  };
  const int64_t whole = p.k - p.k % kWidth;
  for (int64_t k = 0; k < whole; k += kWidth) add([k](Floats& values, const T* x) { load(values, x + k); });
  if (whole < p.k) add([&](Floats& values, const T* x) { load_some(values, x + whole, p.k - whole); });
#pragma GCC unroll 4
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < N; ++j) {
      Out& c = static_cast<Out*>(p.c)[(row + i) * p.c_stride + column + j];
      c = from_float<Out>(total(sum[i][j]) + (p.accumulate ? to_float(c) : 0.0F));
    }
}

template <int N, class T, class Out>
void columns(const Product& p, int64_t column) {
  int64_t row = 0;
  for (; row + kRows <= p.m; row += kRows) block<kRows, N, T, Out>(p, row, column);
  for (; row < p.m; ++row) block<1, N, T, Out>(p, row, column);
}

template <class T, class Out>
void multiply(const Product& p) {
  int64_t column = 0;
  for (; column + kColumns <= p.n; column += kColumns) columns<kColumns, T, Out>(p, column);
  for (; column < p.n; ++column) columns<1, T, Out>(p, column);
}

}  // namespace

void multiply_few_rows(const Product& p) {
  CHECK(has_few_rows(p));
  with_type(p.in, [&](auto in) {
    using T = decltype(in);
    if (p.out == DType::f32) return multiply<T, float>(p);
    multiply<T, T>(p);
  });
}

}  // namespace moe::cpu
