// SPDX-License-Identifier: MIT
// An f32 matrix as a sum of three of 16 bits, so that the matrix units can multiply it:
//   x = high + middle / step + low / step^2,
// where each part is what the ones before leave, times a power of the step, rounded. bf16 has the exponents
// of f32, and the step 1. f16 has fewer: with the step 2^11 the parts below are normal numbers, too. The rest
// is below 2^-24 of x; with f16 for |x| down to 2^-23.
#pragma once

#include <cstdint>

#include "gpu/launch.h"
#include "gpu/numbers.cuh"

namespace moe::gpu {

constexpr int kParts = 3;

template <class T>
constexpr float kStep = 1;
template <>
constexpr float kStep<f16> = 2048;

template <class T>
struct PartsOf {
  T part[kParts];
};

template <class T>
__device__ __forceinline__ PartsOf<T> parts_of(float x) {
  const T high = from_float<T>(x);
  const float rest = (x - to_float(high)) * kStep<T>;
  const T middle = from_float<T>(rest);
  return {{high, middle, from_float<T>((rest - to_float(middle)) * kStep<T>)}};
}

// The smallest first.
template <class T>
__device__ __forceinline__ float sum_of(float high, float middle, float low) {
  constexpr float kBelow = 1 / kStep<T>;
  return (low * kBelow + middle) * kBelow + high;
}

// The parts of four elements, `stride` apart.
template <class T>
__device__ __forceinline__ void store_parts(T* to, int64_t stride, const Vec<float, 4>& x) {
  Vec<T, 4> out[kParts];
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const PartsOf<T> parts = parts_of<T>(x.v[j]);
#pragma unroll
    for (int b = 0; b < kParts; ++b) out[b].v[j] = parts.part[b];
  }
#pragma unroll
  for (int b = 0; b < kParts; ++b) store(to + b * stride, out[b]);
}

// The sums of four elements, whose parts are `stride` apart.
template <class T>
__device__ __forceinline__ Vec<float, 4> sum_of_parts(const float* from, int64_t stride) {
  const auto high = load<4>(from), middle = load<4>(from + stride), low = load<4>(from + 2 * stride);
  Vec<float, 4> sum;
#pragma unroll
  for (int j = 0; j < 4; ++j) sum.v[j] = sum_of<T>(high.v[j], middle.v[j], low.v[j]);
  return sum;
}

// Blocks beside each other: y[r][b * columns + c] = part b of x[r][c]. Four elements a thread; columns is a
// multiple of 4.
template <class T>
__global__ void parts_of_columns_kernel(T* y, const float* x, int64_t rows, int columns) {
  const int64_t i = 4 * (int64_t{blockIdx.x} * blockDim.x + threadIdx.x);
  if (i >= rows * columns) return;
  const int64_t row = i / columns;
  store_parts<T>(y + row * (kParts - 1) * columns + i, columns, load<4>(x + i));
}

// Blocks below each other: y[b * rows + r][c] = part b of x[r][c].
template <class T>
__global__ void parts_of_rows_kernel(T* y, const float* x, int64_t elements) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= elements) return;
  const PartsOf<T> parts = parts_of<T>(x[i]);
#pragma unroll
  for (int b = 0; b < kParts; ++b) y[b * elements + i] = parts.part[b];
}

// What parts beside each other are multiplied by to have x's product: y[b * rows + r][c] = w[r][c] / step^b,
// rounded.
template <class T>
__global__ void factors_of_parts_kernel(T* y, const float* w, int64_t elements) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= elements) return;
  float value = w[i];
#pragma unroll
  for (int b = 0; b < kParts; ++b) {
    y[b * elements + i] = from_float<T>(value);
    value /= kStep<T>;
  }
}

// y[r][c] = the sum of three blocks beside each other. Four elements a thread, as above.
template <class T>
__global__ void add_column_parts_kernel(float* y, const float* x, int64_t rows, int columns) {
  const int64_t i = 4 * (int64_t{blockIdx.x} * blockDim.x + threadIdx.x);
  if (i >= rows * columns) return;
  store(y + i, sum_of_parts<T>(x + i / columns * (kParts - 1) * columns + i, columns));
}

// y += the sum of three blocks below each other.
template <class T>
__global__ void add_row_parts_kernel(float* y, const float* x, int64_t elements) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < elements) y[i] += sum_of<T>(x[i], x[elements + i], x[2 * elements + i]);
}

inline Grid one_thread_each(int64_t elements) {
  constexpr unsigned threads = 256;
  return {blocks(ceil_div(elements, threads)), threads};
}

}  // namespace moe::gpu
