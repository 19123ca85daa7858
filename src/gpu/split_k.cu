// SPDX-License-Identifier: MIT
#include "gpu/split_k.h"

#include "base/error.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"

namespace moe::gpu {
namespace {

constexpr int kThreads = 256;

template <int width, class C>
__global__ void add_parts_kernel(C* c, const float* parts, int64_t count, int64_t elements, bool accumulate) {
  const int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * width;
  if (i >= elements) return;
  float sum[width] = {};
  if (accumulate) {
    const auto old = load<width>(c + i);
#pragma unroll
    for (int j = 0; j < width; ++j) sum[j] = to_float(old.v[j]);
  }
#pragma unroll 8
  for (int64_t p = 0; p < count; ++p) {
    const auto part = load<width>(parts + p * elements + i);
#pragma unroll
    for (int j = 0; j < width; ++j) sum[j] += part.v[j];
  }
  Vec<C, width> out;
#pragma unroll
  for (int j = 0; j < width; ++j) out.v[j] = from_float<C>(sum[j]);
  store(c + i, out);
}

template <class C>
void run(cudaStream_t stream, C* c, const float* parts, int64_t count, int64_t elements, bool accumulate) {
  const bool wide = elements % 4 == 0 && vector_width<float>(0, c, parts) > 1;
  launch(stream, wide ? add_parts_kernel<4, C> : add_parts_kernel<1, C>,
         {blocks(ceil_div(elements, kThreads * (wide ? 4 : 1))), kThreads}, c, parts, count, elements,
         accumulate);
}

}  // namespace

void add_parts(cudaStream_t stream, void* c, DType type, const void* parts, int64_t count, int64_t elements,
               bool accumulate) {
  const auto* const p = static_cast<const float*>(parts);
  with_activation(type, [&]<class C>() { run(stream, static_cast<C*>(c), p, count, elements, accumulate); });
}

}  // namespace moe::gpu
