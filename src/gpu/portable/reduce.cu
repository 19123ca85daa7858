// SPDX-License-Identifier: MIT
// Sums in f64 over whole tensors, the factor that clips a gradient, and the guard against spikes. Blocks
// leave partial sums, one block adds them.
#include <algorithm>
#include <cmath>

#include "gpu/block_reduce.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"
#include "ops/spike_guard_step.h"

namespace moe::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int kVectorsPerThread = 4;
constexpr int64_t kMostBlocks = 1024;  // fills the largest GPUs, and is the same on all

struct Value {
  __device__ double operator()(float x) const { return static_cast<double>(x); }
};
struct Square {
  __device__ double operator()(float x) const { return static_cast<double>(x) * static_cast<double>(x); }
};

template <class T, class Term, int width>
__global__ void partial_kernel(double* parts, const T* x, int64_t n, Term term) {
  const int64_t thread = int64_t{blockIdx.x} * kThreads + threadIdx.x,
                threads = int64_t{gridDim.x} * kThreads;
  const int64_t vectors = n / width;
  double sum = 0;
#pragma unroll kVectorsPerThread
  for (int64_t i = thread; i < vectors; i += threads) {
    const auto v = load<width>(x + i * width);
#pragma unroll
    for (int j = 0; j < width; ++j) sum += term(to_float(v.v[j]));
  }
  if (vectors * width + thread < n) sum += term(to_float(x[vectors * width + thread]));
  sum = block_sum(sum);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

__global__ void add_parts_kernel(double* sum_1, const double* parts, int count) {
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) sum += parts[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *sum_1 += sum;
}

__global__ void clip_scale_kernel(float* scale_1, const double* squares_n, int64_t n, float max_norm,
                                  float loss_scale) {
  double total = 0;
  for (int64_t i = threadIdx.x; i < n; i += 32) total += squares_n[i];
  const double factor = loss_scale, norm = sqrt(warp_sum(total)) / factor;
  if (threadIdx.x != 0) return;
  if (!std::isfinite(norm))
    *scale_1 = -1;
  else
    *scale_1 = static_cast<float>(
        (max_norm == 0 ? 1.0 : fmin(1.0, static_cast<double>(max_norm) / (norm + 1e-6))) / factor);
}

// A single thread: a few microseconds, and the order of the CPU.
__global__ void spike_guard_kernel(float* scale_1, double* history_2H, int32_t* seen_1, int64_t H,
                                   const double* loss_sum_1, int64_t targets, const double* squares_n,
                                   int64_t n, float loss_scale, double sigma) {
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += squares_n[i];
  guard_step(*scale_1, history_2H, *seen_1, H, *loss_sum_1 / static_cast<double>(targets),
             sqrt(total) / loss_scale, sigma, SpikeGuard::kSkip);
}

template <class T, class Term>
void add_sum(cudaStream_t stream, const Workspace& workspace, Tensor& sum_1, const Tensor& x, Term term) {
  constexpr int wide = 16 / sizeof(T);
  const int64_t n = x.numel(),
                grid = std::clamp<int64_t>(ceil_div(n, wide * kThreads * kVectorsPerThread), 1, kMostBlocks);
  double* const parts = workspace.carve().take<double>(grid);
  const auto kernel =
      vector_width<T>(0, x.data()) == 1 ? partial_kernel<T, Term, 1> : partial_kernel<T, Term, wide>;
  launch(stream, kernel, {blocks(grid), kThreads}, parts, pointer<T>(x), n, term);
  launch(stream, add_parts_kernel, {1, kThreads}, pointer<double>(sum_1), parts, static_cast<int>(grid));
}

}  // namespace

void GpuOps::sum(Sum op) {
  op.check();
  add_sum<float>(stream_, workspace_, op.sum_1, op.x, Value{});
}

void GpuOps::sum_squares(SumSquares op) {
  op.check();
  with_f32_or_bf16(op.x.dtype(),
                   [&]<class T>() { add_sum<T>(stream_, workspace_, op.sum_1, op.x, Square{}); });
}

void GpuOps::clip_scale(ClipScale op) {
  op.check();
  launch(stream_, clip_scale_kernel, {1, 32}, pointer<float>(op.scale_1), pointer<double>(op.squares_n),
         op.squares_n.numel(), op.max_norm, op.loss_scale);
}

void GpuOps::spike_guard(SpikeGuard op) {
  op.check();
  launch(stream_, spike_guard_kernel, {1, 1}, pointer<float>(op.scale_1), pointer<double>(op.history_2H),
         pointer<int32_t>(op.seen_1), op.history_2H.dim(1), pointer<double>(op.loss_sum_1), op.targets,
         pointer<double>(op.squares_n), op.squares_n.numel(), op.loss_scale, op.sigma);
}

}  // namespace moe::gpu
