// SPDX-License-Identifier: MIT
// Looking rows up, and adding their gradients back. Backward sorts the tokens by id (stably, a digit of eight
// bits at a time); then one block takes the run of each id that occurs and adds its rows in the order of the
// tokens.
#include <cmath>
#include <utility>

#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"
#include "gpu/portable/counting_sort.cuh"

namespace moe::gpu {
namespace {

constexpr int kWarps = 4;      // rows of a forward block
constexpr int kThreads = 128;  // of a backward block
constexpr int kBatch = 8;      // rows under way at once in a run
constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits;

// An id outside the vocabulary makes its row NaN, which ends the run.
template <class T, int width>
__global__ void forward_kernel(T* x_ND, const int32_t* id_N, const T* w_VD, float scale, int64_t n,
                               int64_t vocabulary, int d) {
  const int64_t token = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (token >= n) return;
  const int id = id_N[token];
  const bool known = id >= 0 && id < vocabulary;
#pragma unroll 4
  for (int c = static_cast<int>(threadIdx.x) % 32 * width; c < d; c += 32 * width) {
    Vec<T, width> v;
#pragma unroll
    for (int j = 0; j < width; ++j) v.v[j] = from_float<T>(NAN);
    if (known) v = load<width>(w_VD + int64_t{id} * d + c);
#pragma unroll
    for (int j = 0; j < width; ++j) v.v[j] = from_float<T>(scale * to_float(v.v[j]));
    store(x_ND + token * d + c, v);
  }
}

struct alignas(8) Entry {
  int id, token;
};

// The items of one pass of the sort: the entries so far, or the tokens themselves in the first pass.
struct Digit {
  const Entry* entries;
  const int32_t* id_N;
  int shift;

  __device__ Entry entry(int i) const { return entries != nullptr ? entries[i] : Entry{id_N[i], i}; }
  __device__ int operator()(int i) const { return entry(i).id >> shift & (kDigits - 1); }
};

struct Move {
  Entry* sorted;
  const int32_t* begin_D;  // of each digit
  Digit digit;

  __device__ void operator()(int i, int key, int rank) const { sorted[begin_D[key] + rank] = digit.entry(i); }
};

// One block of kDigits threads.
__global__ void begin_digits_kernel(int32_t* begin_D, int32_t* tile_counts, int tiles) {
  int early = 0, sum = 0;
  const int key = static_cast<int>(threadIdx.x);
  begin_D[key] = block_sum_before(count_before(tile_counts, tiles, kDigits, key, 0, &early), &sum);
}

// Block i works when entry i is the first of its id.
template <class T, int width>
__global__ void add_rows_kernel(float* dw_VD, const Entry* entries, const T* dx_ND, float scale, int n,
                                int64_t vocabulary, int d) {
  constexpr int chunk = width == 1 ? 1 : 4;  // floats moved at once
  const int begin = static_cast<int>(blockIdx.x), id = entries[begin].id;
  if ((begin > 0 && entries[begin - 1].id == id) || id < 0 || id >= vocabulary) return;
  float* const dw = dw_VD + int64_t{id} * d;
  for (int c = static_cast<int>(threadIdx.x) * width; c < d; c += kThreads * width) {
    Vec<float, chunk> sum[width / chunk];
#pragma unroll
    for (int j = 0; j < width / chunk; ++j) sum[j] = load<chunk>(dw + c + j * chunk);
    for (int i = begin; i < n && entries[i].id == id; i += kBatch) {
      Vec<T, width> rows[kBatch] = {};
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        const Entry entry = i + b < n ? entries[i + b] : Entry{-1, 0};
        if (entry.id == id) rows[b] = load<width>(dx_ND + int64_t{entry.token} * d + c);
      }
#pragma unroll
      for (int b = 0; b < kBatch; ++b)
#pragma unroll
        for (int j = 0; j < width; ++j) sum[j / chunk].v[j % chunk] += scale * to_float(rows[b].v[j]);
    }
#pragma unroll
    for (int j = 0; j < width / chunk; ++j) store(dw + c + j * chunk, sum[j]);
  }
}

// The tokens by id, those of one id in their order; in the workspace.
const Entry* sort_tokens(cudaStream_t stream, Workspace::Carving carving, const int32_t* id_N, int n,
                         int64_t vocabulary) {
  const int64_t tiles = ceil_div(n, kSortTile);
  Entry *sorted = carving.take<Entry>(n), *other = carving.take<Entry>(n);
  int32_t* const counts = carving.take<int32_t>(tiles * kDigits);
  int32_t* const begin = carving.take<int32_t>(kDigits);
  constexpr size_t shared = sizeof(int) * kDigits;
  const Entry* entries = nullptr;
  for (int shift = 0; shift == 0 || (vocabulary - 1) >> shift > 0; shift += kDigitBits) {
    const Digit digit{entries, id_N, shift};
    launch(stream, count_keys_kernel<Digit>, {blocks(tiles), kSortThreads, shared}, counts, n, kDigits,
           digit);
    launch(stream, begin_digits_kernel, {1, kDigits}, begin, counts, static_cast<int>(tiles));
    launch(stream, place_items_kernel<Digit, Move>, {blocks(tiles), kSortThreads, kSortWarps * shared},
           counts, n, kDigits, digit, Move{sorted, begin, digit});
    entries = sorted;
    std::swap(sorted, other);
  }
  return entries;
}

}  // namespace

void GpuOps::embedding_forward(EmbeddingForward op) {
  op.check();
  const int64_t n = op.x_ND.dim(0), d = op.x_ND.dim(1);
  if (n == 0) return;
  with_activation(op.x_ND.dtype(), [&]<class T>() {
    const auto kernel = vector_width<T>(d, op.x_ND.data(), op.w_VD.data()) == 1
                            ? forward_kernel<T, 1>
                            : forward_kernel<T, 16 / sizeof(T)>;
    launch(stream_, kernel, {blocks(ceil_div(n, kWarps)), kWarps * 32}, pointer<T>(op.x_ND),
           pointer<int32_t>(op.id_N), pointer<T>(op.w_VD), op.scale, n, op.w_VD.dim(0), static_cast<int>(d));
  });
}

void GpuOps::embedding_backward(EmbeddingBackward op) {
  op.check();
  const int64_t n = op.dx_ND.dim(0), d = op.dx_ND.dim(1);
  CHECK(n < (int64_t{1} << 30), op.dx_ND.describe());
  if (n == 0) return;
  const Entry* const entries = sort_tokens(stream_, workspace_.carve(), pointer<int32_t>(op.id_N),
                                           static_cast<int>(n), op.dw_VD.dim(0));
  with_activation(op.dx_ND.dtype(), [&]<class T>() {
    const auto kernel = vector_width<T>(d, op.dw_VD.data(), op.dx_ND.data()) == 1
                            ? add_rows_kernel<T, 1>
                            : add_rows_kernel<T, 16 / sizeof(T)>;
    launch(stream_, kernel, {blocks(n), kThreads}, pointer<float>(op.dw_VD), entries, pointer<T>(op.dx_ND),
           op.scale, static_cast<int>(n), op.dw_VD.dim(0), static_cast<int>(d));
  });
}

}  // namespace moe::gpu
