// SPDX-License-Identifier: MIT
// A product of few rows with a weight matrix. A block keeps the rows in shared memory, normalised where asked
// for, and takes tiles of the weights' rows in turn. Its warps share the inner dimension and add their sums
// in order. A tile's weights are on their way before the rows are read, and while the last tile is stored.
#include "gpu/few_rows_matmul.h"

#include <algorithm>

#include "gpu/block_reduce.cuh"
#include "gpu/dynamic_shared.cuh"
#include "gpu/early_start.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/portable/few_rows.cuh"

namespace moe::gpu {
namespace {

constexpr int kWarps = 8, kThreads = 32 * kWarps;
constexpr int kAhead = 4;  // steps of a warp whose weights are under way at once
constexpr int kChunk = kAhead * kWarps * kStep;
constexpr int kMostBlocksPerSm = 4;
constexpr size_t kBlockShared = 1 << 10;  // what CUDA takes of each block's share
// Where more rows read more weights than this the library's products are better: they read rows less often.
constexpr int64_t kManyWeights = int64_t{8} << 20, kRowsOfManyWeights = 16;

template <class T>
struct Product {
  T* c;
  const T *x, *w, *addend;
  const float *bias, *norm;
  float eps;
  int rows, inner, outer;
};

// From row to row in shared memory: so that 8 lanes with two rows' neighbours meet all banks.
__host__ __device__ constexpr int row_stride(int inner) {
  return (inner + 63) / 64 * 64 + 32;
}

// A tile's weights of one chunk; zeros past the ends.
template <class T, int columns>
struct ChunkOfWeights {
  Piece w[kAhead][columns];

  // body(i, j, where w[i][j] lies, or null).
  template <class Body>
  __device__ __forceinline__ static void for_each(const Product<T>& p, int64_t tile, int chunk, Body body) {
    const LaneOfProduct lane;
    const int warp = static_cast<int>(threadIdx.x) / 32;
#pragma unroll
    for (int i = 0; i < kAhead; ++i)
#pragma unroll
      for (int j = 0; j < columns; ++j) {
        const int64_t row = (tile * columns + j) * kColumnTile + lane.row;
        const int k = chunk * kChunk + (i * kWarps + warp) * kStep + lane.column;
        body(i, j, row < p.outer && k < p.inner ? p.w + row * p.inner + k : nullptr);
      }
  }
  __device__ __forceinline__ void read(const Product<T>& p, int64_t tile, int chunk) {
    for_each(p, tile, chunk,
             [&](int i, int j, const T* at) { w[i][j] = at != nullptr ? load_piece(at) : Piece{}; });
  }
  __device__ __forceinline__ static void bring_near(const Product<T>& p, int64_t tile) {
    for_each(p, tile, 0, [](int, int, const T* at) {
      if (at != nullptr) prefetch(at);
    });
  }
};

// What a block has in shared memory.
template <class T>
struct Shared {
  T* x;         // [rows][row_stride]
  float* norm;  // [inner]; nothing without a norm
  float* sums;  // [warps][rows][columns of a tile]

  __device__ Shared(unsigned char* memory, const Product<T>& p)
      : x(reinterpret_cast<T*>(memory)),
        norm(reinterpret_cast<float*>(x + p.rows * row_stride(p.inner))),
        sums(norm + (p.norm != nullptr ? p.inner : 0)) {}
  static size_t bytes(const Product<T>& p, int columns) {
    const size_t floats = static_cast<size_t>((p.norm != nullptr ? p.inner : 0) + kWarps * p.rows * columns);
    return sizeof(T) * static_cast<size_t>(p.rows * row_stride(p.inner)) + sizeof(float) * floats;
  }
};

// Starts to copy the rows and the norm's weights.
template <class T>
__device__ __forceinline__ void copy_rows(const Shared<T>& shared, const Product<T>& p) {
  const int pieces = p.inner / 8;
  for (int i = static_cast<int>(threadIdx.x); i < p.rows * pieces; i += kThreads) {
    const int row = i / pieces;
    cp_async_16(shared.x + row * row_stride(p.inner) + 8 * (i - row * pieces), p.x + int64_t{8} * i, 16);
  }
  for (int i = static_cast<int>(threadIdx.x); p.norm != nullptr && i < p.inner / 4; i += kThreads)
    cp_async_16(shared.norm + 4 * i, p.norm + 4 * i, 16);
  cp_async_commit();
}

// Waits for the copies, and normalises each row where asked for, a warp a row.
template <class T>
__device__ __forceinline__ void finish_rows(const Shared<T>& shared, const Product<T>& p) {
  cp_async_wait<0>();
  __syncthreads();
  if (p.norm == nullptr) return;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  for (int row = warp; row < p.rows; row += kWarps) {
    T* const x = shared.x + row * row_stride(p.inner);
    float squares = 0;
    for (int k = 8 * lane; k < p.inner; k += 8 * 32) {
      const auto v = load<8>(x + k);
#pragma unroll
      for (int j = 0; j < 8; ++j) squares += to_float(v.v[j]) * to_float(v.v[j]);
    }
    const float rstd = 1.0F / sqrtf(warp_sum(squares) / static_cast<float>(p.inner) + p.eps);
    for (int k = 8 * lane; k < p.inner; k += 8 * 32) {
      auto v = load<8>(x + k);
#pragma unroll
      for (int j = 0; j < 8; ++j) v.v[j] = from_float<T>(shared.norm[k + j] * (to_float(v.v[j]) * rstd));
      store(x + k, v);
    }
  }
  __syncthreads();
}

template <class T, int tiles, int columns>
using Sums = float[tiles][columns][4];

template <class T, int tiles, int columns>
__device__ __forceinline__ void multiply_chunk(Sums<T, tiles, columns>& c, const T* x, const Product<T>& p,
                                               const ChunkOfWeights<T, columns>& weights, int chunk) {
  const LaneOfProduct lane;
  const int warp = static_cast<int>(threadIdx.x) / 32, stride = row_stride(p.inner);
#pragma unroll
  for (int i = 0; i < kAhead; ++i) {
    const int k = chunk * kChunk + (i * kWarps + warp) * kStep + lane.column;
#pragma unroll
    for (int m = 0; m < tiles; ++m) {
      const int low = m * kRowTile + lane.row, high = low + 8;
      const Piece a = low < p.rows && k < p.inner ? load_piece(x + low * stride + k) : Piece{};
      const Piece b = high < p.rows && k < p.inner ? load_piece(x + high * stride + k) : Piece{};
#pragma unroll
      for (int j = 0; j < columns; ++j) multiply_step<T>(c[m][j], a, b, weights.w[i][j]);
    }
  }
}

// What is added to element i of a tile.
template <class T, int columns>
__device__ __forceinline__ float addend_of(const Product<T>& p, int64_t tile, int i) {
  constexpr int width = columns * kColumnTile;
  const int64_t column = tile * width + i % width;
  if (i >= p.rows * width || column >= p.outer) return 0;
  const float addend = p.addend != nullptr ? to_float(p.addend[i / width * int64_t{p.outer} + column]) : 0.0F;
  return p.bias != nullptr ? addend + p.bias[column] : addend;
}

// Adds the warps' sums, which lie in `sums` by warp, row and column, and stores the tile. first: the addend
// of the thread's first element, which was read in good time.
template <class T, int columns>
__device__ __forceinline__ void store_tile(const float* sums, const Product<T>& p, int64_t tile,
                                           float first) {
  constexpr int width = columns * kColumnTile;
  for (int i = static_cast<int>(threadIdx.x); i < p.rows * width; i += kThreads) {
    const int64_t column = tile * width + i % width;
    if (column >= p.outer) continue;
    float sum = 0;
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp) sum += sums[warp * p.rows * width + i];
    sum += i < kThreads ? first : addend_of<T, columns>(p, tile, i);
    p.c[i / width * int64_t{p.outer} + column] = from_float<T>(sum);
  }
}

template <class T, int tiles, int columns>
__global__ void __launch_bounds__(kThreads, tiles == 1 ? 4 : 2) few_rows_kernel(Product<T> p) {
  const Shared<T> shared(dynamic_shared<unsigned char>(), p);
  constexpr int width = columns * kColumnTile;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t all = (p.outer + width - 1) / width;
  const int chunks = (p.inner + kChunk - 1) / kChunk;
  ChunkOfWeights<T, columns> weights;
  weights.bring_near(p, blockIdx.x);
  let_next_kernel_start();
  wait_for_earlier_kernels();
  copy_rows(shared, p);
  weights.read(p, blockIdx.x, 0);
  finish_rows(shared, p);
  for (int64_t tile = blockIdx.x; tile < all; tile += gridDim.x) {
    Sums<T, tiles, columns> c = {};
    const float addend = addend_of<T, columns>(p, tile, static_cast<int>(threadIdx.x));
    for (int chunk = 0; chunk < chunks; ++chunk) {
      multiply_chunk<T, tiles, columns>(c, shared.x, p, weights, chunk);
      if (chunk + 1 < chunks) weights.read(p, tile, chunk + 1);
    }
    if (tile + gridDim.x < all) weights.read(p, tile + gridDim.x, 0);
#pragma unroll
    for (int m = 0; m < tiles; ++m)
#pragma unroll
      for (int j = 0; j < columns; ++j)
        for_each_element(c[m][j], [&](int row, int column, float value) {
          const int r = m * kRowTile + row;
          if (r < p.rows) shared.sums[(warp * p.rows + r) * width + j * kColumnTile + column] = value;
        });
    __syncthreads();
    store_tile<T, columns>(shared.sums, p, tile, addend);
    __syncthreads();
  }
}

template <class T, int tiles, int columns>
bool run(cudaStream_t stream, const ProcessorLimits& limits, const Product<T>& p) {
  const size_t bytes = Shared<T>::bytes(p, columns * kColumnTile);
  if (bytes > limits.shared_of_block) return false;
  const auto resident = static_cast<int64_t>(limits.shared_of_processor / (bytes + kBlockShared));
  const int64_t most = limits.num_sms * std::clamp<int64_t>(resident, 1, kMostBlocksPerSm);
  const int64_t all = ceil_div(p.outer, columns * kColumnTile);
  launch_early(stream, few_rows_kernel<T, tiles, columns>, {blocks(std::min(all, most)), kThreads, bytes}, p);
  return true;
}

template <class T>
bool run(cudaStream_t stream, const ProcessorLimits& limits, FewRowsMatmul& op) {
  const Product<T> p{.c = pointer<T>(op.c_MN),
                     .x = pointer<T>(op.x_MK),
                     .w = pointer<T>(op.w_NK),
                     .addend = pointer<T>(op.addend_MN),
                     .bias = pointer<float>(op.bias_N),
                     .norm = pointer<float>(op.norm_K),
                     .eps = op.eps,
                     .rows = static_cast<int>(op.x_MK.dim(0)),
                     .inner = static_cast<int>(op.x_MK.dim(1)),
                     .outer = static_cast<int>(op.w_NK.dim(0))};
  if (p.rows <= kRowTile) return run<T, 1, 1>(stream, limits, p);
  // Wide tiles read the rows less often, but must reach all processors.
  const bool wide = p.outer >= limits.num_sms * 2 * kColumnTile;
  if (p.rows <= 2 * kRowTile) return wide ? run<T, 2, 2>(stream, limits, p) : run<T, 2, 1>(stream, limits, p);
  return wide ? run<T, 4, 2>(stream, limits, p) : run<T, 4, 1>(stream, limits, p);
}

}  // namespace

bool few_rows_matmul(cudaStream_t stream, const ProcessorLimits& limits, FewRowsMatmul op) {
  const DType type = op.x_MK.dtype();
  if (!few_rows_take(op.x_MK, op.x_MK.dim(1)) || op.c_MN.dtype() != type) return false;
  if (!aligned_to_16(op.x_MK, op.w_NK, op.norm_K)) return false;
  if (op.w_NK.numel() > kManyWeights && op.x_MK.dim(0) > kRowsOfManyWeights) return false;
  return type == DType::bf16 ? run<bf16>(stream, limits, op) : run<f16>(stream, limits, op);
}

void GpuOps::norm_matmul(NormMatmul op) {
  op.check();
  if (!few_rows_matmul(stream_, limits(),
                       {.c_MN = op.c_MN,
                        .x_MK = op.x_MK,
                        .w_NK = op.b_NK,
                        .bias_N = op.bias_N,
                        .norm_K = op.w_K,
                        .eps = op.eps}))
    Ops::norm_matmul(op);
}

}  // namespace moe::gpu
