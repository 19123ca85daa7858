// SPDX-License-Identifier: MIT
// Normal numbers with the host's bits. Logarithm and cosine of the GPU differ from the host's in the last
// bits of f64, which the rounding to f32 hides, but for the few numbers that lie next to where it changes.
// The kernel lists these, and the host computes them.
#include <algorithm>
#include <vector>

#include "base/random.h"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"

namespace moe::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kPiece = int64_t{1} << 26;  // elements at a time
// Far more than the functions of both err (CUDA C++ Programming Guide, 13.1: log 1 ulp, cos 2 ulp), and
// seldom: one number in 200,000 lies so near.
constexpr double kDoubt = 0x1.0p-42;
constexpr int64_t kMostDoubts = 1 << 16;  // of a piece, which has some 300

struct DeviceMath {
  __device__ double sqrt(double x) const { return ::sqrt(x); }
  __device__ double log(double x) const { return ::log(x); }
  __device__ double cos(double x) const { return ::cos(x); }
};

template <class T>
__global__ void fill_normal_kernel(T* x, int64_t n, float std, uint64_t seed, uint64_t stream, uint64_t first,
                                   int32_t* doubts, int64_t* doubtful) {
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < n; i += step) {
    const double value =
        normal_of(random_block(seed, stream, first + static_cast<uint64_t>(i)), DeviceMath());
    x[i] = from_float<T>(std * static_cast<float>(value));
    if (static_cast<float>(value * (1 - kDoubt)) == static_cast<float>(value * (1 + kDoubt))) continue;
    // Their order is left to chance, and does not matter.
    if (const int32_t place = atomicAdd(doubts, 1); place < kMostDoubts) doubtful[place] = i;
  }
}

template <class T, class HostT>
void fill_piece(GpuDevice& device, cudaStream_t stream, Workspace::Carving carving, Tensor x,
                const FillNormal& op, uint64_t first) {
  auto* const doubts = carving.take<int32_t>(1);
  auto* const doubtful = carving.take<int64_t>(kMostDoubts);
  CUDA_CHECK(cudaMemsetAsync(doubts, 0, sizeof(int32_t), stream));
  launch(stream, fill_normal_kernel<T>,
         {blocks(std::min<int64_t>(ceil_div(x.numel(), kThreads), 4096)), kThreads}, pointer<T>(x), x.numel(),
         op.std, op.seed, op.stream, first, doubts, doubtful);
  int32_t count = 0;
  device.to_host(&count, Tensor(doubts, DType::i32, {1}));
  CHECK(count <= kMostDoubts, "fill_normal: the GPU's functions are not those of its manual");
  if (count == 0) return;
  std::vector<int64_t> places(static_cast<size_t>(count));
  CUDA_CHECK(cudaMemcpyAsync(places.data(), doubtful, places.size() * sizeof(int64_t), cudaMemcpyDeviceToHost,
                             stream));
  device.synchronize();
  const Random random(op.seed, op.stream);
  for (const int64_t place : places) {
    const auto value = static_cast<HostT>(op.std * random.normal(first + static_cast<uint64_t>(place)));
    device.to_device(x.rows(place, place + 1), &value);
  }
}

}  // namespace

void GpuOps::fill_normal(FillNormal op) {
  op.check();
  for (int64_t begin = 0; begin < op.x.numel(); begin += kPiece) {
    const Tensor piece = op.x.rows(begin, std::min(op.x.numel(), begin + kPiece));
    const uint64_t first = op.first + static_cast<uint64_t>(begin);
    if (op.x.dtype() == DType::bf16)
      fill_piece<bf16, moe::bf16>(device_, stream_, workspace_.carve(), piece, op, first);
    else
      fill_piece<float, float>(device_, stream_, workspace_.carve(), piece, op, first);
  }
}

}  // namespace moe::gpu
