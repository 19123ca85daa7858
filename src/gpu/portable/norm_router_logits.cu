// SPDX-License-Identifier: MIT
// norm_router_logits of few tokens: a block normalises its token and has a warp for each of some experts.
#include "gpu/block_reduce.cuh"
#include "gpu/dynamic_shared.cuh"
#include "gpu/early_start.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"
#include "gpu/portable/few_rows.cuh"

namespace moe::gpu {
namespace {

constexpr int kWarps = 8, kThreads = 32 * kWarps;
constexpr int kAhead = 8;               // vectors of the router's weights that a lane has under way
constexpr int64_t kMostColumns = 8192;  // of x, in shared memory as f32

template <class T>
struct Shape {
  float* logits_NE;
  T* norm_ND;
  const T* x_ND;
  const float *w_D, *w_ED;
  float eps;
  int experts, width;
};

// The block's token, normalised and rounded, to shared memory, and by one of its blocks to norm_ND.
template <class T>
__device__ __forceinline__ void stage_token(float* to, const Shape<T>& s) {
  const int64_t row = int64_t{blockIdx.y} * s.width;
  const int own = 4 * static_cast<int>(threadIdx.x);
  // Of the first columns beside the token, not behind it.
  const Vec<float, 4> of_own = own < s.width ? load<4>(s.w_D + own) : Vec<float, 4>{};
  float squares = 0;
  for (int c = own; c < s.width; c += 4 * kThreads) {
    const auto v = load<4>(s.x_ND + row + c);
#pragma unroll
    for (int j = 0; j < 4; ++j) squares += to_float(v.v[j]) * to_float(v.v[j]);
  }
  const float rstd = 1.0F / sqrtf(block_sum(squares) / static_cast<float>(s.width) + s.eps);
  for (int c = own; c < s.width; c += 4 * kThreads) {
    auto v = load<4>(s.x_ND + row + c);
    const auto w = c == own ? of_own : load<4>(s.w_D + c);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      v.v[j] = from_float<T>(w.v[j] * (to_float(v.v[j]) * rstd));
      to[c + j] = to_float(v.v[j]);
    }
    if (blockIdx.x == 0) store(s.norm_ND + row + c, v);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) kernel(Shape<T> s) {
  float* const x = dynamic_shared<float>();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int expert = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / 32;
  const float* const w = s.w_ED + int64_t{min(expert, s.experts - 1)} * s.width;
  Vec<float, 4> ahead[kAhead];
  const auto read = [&](int begin) {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int c = begin + 4 * (32 * i + lane);
      ahead[i] = c < s.width ? load<4>(w + c) : Vec<float, 4>{};
    }
  };
#pragma unroll
  for (int i = 0; i < kAhead; ++i)
    if (4 * (32 * i + lane) < s.width) prefetch(w + 4 * (32 * i + lane));
  let_next_kernel_start();
  wait_for_earlier_kernels();
  read(0);
  stage_token(x, s);
  __syncthreads();
  float sum = 0;
  for (int begin = 0; begin < s.width; begin += 4 * 32 * kAhead) {
    if (begin > 0) read(begin);
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int c = begin + 4 * (32 * i + lane);
      if (c >= s.width) continue;
      const auto part = load<4>(x + c);
#pragma unroll
      for (int j = 0; j < 4; ++j) sum = fmaf(part.v[j], ahead[i].v[j], sum);
    }
  }
  sum = warp_sum(sum);
  if (lane == 0 && expert < s.experts) s.logits_NE[int64_t{blockIdx.y} * s.experts + expert] = sum;
}

template <class T>
void run(cudaStream_t stream, NormRouterLogits& op) {
  const Shape<T> s{.logits_NE = pointer<float>(op.logits_NE),
                   .norm_ND = pointer<T>(op.norm_ND),
                   .x_ND = pointer<T>(op.x_ND),
                   .w_D = pointer<float>(op.w_D),
                   .w_ED = pointer<float>(op.w_ED),
                   .eps = op.eps,
                   .experts = static_cast<int>(op.w_ED.dim(0)),
                   .width = static_cast<int>(op.x_ND.dim(1))};
  const dim3 grid(blocks(ceil_div(s.experts, kWarps)), static_cast<unsigned>(op.x_ND.dim(0)));
  launch_early(stream, kernel<T>, {grid, kThreads, sizeof(float) * static_cast<size_t>(s.width)}, s);
}

}  // namespace

void GpuOps::norm_router_logits(NormRouterLogits op) {
  op.check();
  const int64_t width = op.x_ND.dim(1);
  if (!few_rows_take(op.x_ND, width) || width > kMostColumns ||
      !aligned_to_16(op.x_ND, op.norm_ND, op.w_D, op.w_ED))
    return Ops::norm_router_logits(op);
  op.x_ND.dtype() == DType::bf16 ? run<bf16>(stream_, op) : run<f16>(stream_, op);
}

}  // namespace moe::gpu
