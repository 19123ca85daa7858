// SPDX-License-Identifier: MIT
// An f32 matrix as a sum of bf16 ones, so that the matrix units can multiply it: x = high + middle + low,
// where each part is what the ones before leave, rounded; the rest is below 2^-24 of x.
#pragma once

#include <cstdint>

#include "gpu/launch.h"
#include "gpu/numbers.cuh"

namespace moe::gpu {

enum class Part : uint8_t { high, middle, low };

__device__ __forceinline__ bf16 part_of(float x, Part part) {
  const bf16 high = from_float<bf16>(x);
  if (part == Part::high) return high;
  const float rest = x - to_float(high);
  const bf16 middle = from_float<bf16>(rest);
  return part == Part::middle ? middle : from_float<bf16>(rest - to_float(middle));
}

// Which parts a matrix of `count` blocks holds, in order.
struct Parts {
  Part part[3];
  int count;
};

// Blocks beside each other: y[r][b * columns + c] = part b of x[r][c]. Four elements a thread; columns is a
// multiple of 4.
static __global__ void parts_of_columns_kernel(bf16* y, const float* x, int64_t rows, int columns,
                                               Parts parts) {
  const int64_t i = 4 * (int64_t{blockIdx.x} * blockDim.x + threadIdx.x);
  if (i >= rows * columns) return;
  const int64_t row = i / columns;
  const Vec<float, 4> value = load<4>(x + i);
  for (int b = 0; b < parts.count; ++b) {
    Vec<bf16, 4> out;
#pragma unroll
    for (int j = 0; j < 4; ++j) out.v[j] = part_of(value.v[j], parts.part[b]);
    store(y + (row * (parts.count - 1) + b) * columns + i, out);
  }
}

// Blocks below each other: y[b * rows + r][c] = part b of x[r][c].
static __global__ void parts_of_rows_kernel(bf16* y, const float* x, int64_t elements, Parts parts) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= elements) return;
  const float value = x[i];
  for (int b = 0; b < parts.count; ++b) y[b * elements + i] = part_of(value, parts.part[b]);
}

// y[r][c] = the sum of three blocks beside each other, the smallest first. Four elements a thread, as above.
static __global__ void add_column_parts_kernel(float* y, const float* x, int64_t rows, int columns) {
  const int64_t i = 4 * (int64_t{blockIdx.x} * blockDim.x + threadIdx.x);
  if (i >= rows * columns) return;
  const float* const p = x + i / columns * 2 * columns + i;
  const auto high = load<4>(p), middle = load<4>(p + columns), low = load<4>(p + 2 * columns);
  Vec<float, 4> sum;
#pragma unroll
  for (int j = 0; j < 4; ++j) sum.v[j] = (low.v[j] + middle.v[j]) + high.v[j];
  store(y + i, sum);
}

// y += the sum of three blocks below each other, the smallest first.
static __global__ void add_row_parts_kernel(float* y, const float* x, int64_t elements) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < elements) y[i] += (x[2 * elements + i] + x[elements + i]) + x[i];
}

inline Grid one_thread_each(int64_t elements) {
  constexpr unsigned threads = 256;
  return {blocks(ceil_div(elements, threads)), threads};
}

}  // namespace moe::gpu
