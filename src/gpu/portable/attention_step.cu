// SPDX-License-Identifier: MIT
// attention_step: a block a query head of a sequence. Two warps normalise and rotate its query and the new
// key, which one of the heads that share it writes to the cache; the others read it from there next time.
// Some lanes side by side are a worker, with 8 columns each; a worker takes every so many-th key, four at
// once, and keeps a softmax of its own. The workers' are joined in order.
#include <cmath>

#include "gpu/attention_shape.h"
#include "gpu/attention_statistics.cuh"
#include "gpu/block_reduce.cuh"
#include "gpu/early_start.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"
#include "gpu/portable/few_rows.cuh"
#include "gpu/sigmoid.cuh"

namespace moe::gpu {
namespace {

constexpr int kWarps = 8, kThreads = 32 * kWarps;
constexpr int kKeys = 4;     // of a worker at once
constexpr int kColumns = 8;  // of a lane

template <class T>
struct Step {
  T *y_NHd, *k_cache, *v_cache;
  const T* packed_NP;
  const float *wq_d, *wk_d, *rope_Td;
  const int32_t* position_N;
  int64_t capacity, positions;
  float eps, scale_log2;
  int heads, kv_heads, packed, keys, values, query_stride, window;
  bool gated;
};

// A head of the packed row, normalised (w_d not null) and rotated, rounded to `to`. For a whole warp.
template <class T, int dim>
__device__ __forceinline__ void rotate_head(T* to, const T* head, const float* w_d, const float* angles,
                                            float eps) {
  constexpr int half = dim / 2, count = (half + 31) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float a[count] = {}, b[count] = {}, squares = 0;
#pragma unroll
  for (int i = 0; i < count; ++i) {
    const int c = 32 * i + lane;
    if (c >= half) continue;
    a[i] = to_float(head[c]), b[i] = to_float(head[half + c]);
    squares += a[i] * a[i] + b[i] * b[i];
  }
  const float rstd = w_d == nullptr ? 1.0F : 1.0F / sqrtf(warp_sum(squares) / static_cast<float>(dim) + eps);
#pragma unroll
  for (int i = 0; i < count; ++i) {
    const int c = 32 * i + lane;
    if (c >= half) continue;
    const float x = w_d == nullptr ? a[i] : a[i] * rstd * w_d[c];
    const float y = w_d == nullptr ? b[i] : b[i] * rstd * w_d[half + c];
    const float cosine = angles[c], sine = angles[half + c];
    to[c] = from_float<T>(x * cosine - y * sine);
    to[half + c] = from_float<T>(y * cosine + x * sine);
  }
}

// A softmax over some keys, in units of log2; of the output a lane's columns.
struct PartOfSoftmax {
  float largest = -INFINITY, total = 0, output[kColumns] = {};

  // The other part is behind this one.
  __device__ __forceinline__ void join(float other_largest, float other_total,
                                       const float (&other)[kColumns]) {
    const float most = fmaxf(largest, other_largest);
    if (most == -INFINITY) return;
    const float keep = exp2f(largest - most), take = exp2f(other_largest - most);
    largest = most;
    total = keep * total + take * other_total;
#pragma unroll
    for (int j = 0; j < kColumns; ++j) output[j] = keep * output[j] + take * other[j];
  }
};

// The keys of one kv head in the cache but the newest, which no other block may have written yet.
template <class T>
struct KeysAndValues {
  const T *k, *v;  // of place 0
  int64_t stride;
  const T *new_k, *new_v;
  int64_t place;  // of the new one
  __device__ const T* key(int64_t at) const { return at == place ? new_k : k + at * stride; }
  __device__ const T* value(int64_t at) const { return at == place ? new_v : v + at * stride; }
};

// Keys begin, begin + step, ... up to the new one. q: the lane's columns.
template <class T, int lanes>
__device__ __forceinline__ PartOfSoftmax attend(const float (&q)[kColumns], const KeysAndValues<T>& x,
                                                int64_t begin, int64_t step, float scale_log2) {
  PartOfSoftmax part;
  const int column = static_cast<int>(threadIdx.x) % lanes * kColumns;
  const int worker = static_cast<int>(threadIdx.x) / lanes;
  // All of a warp's workers go round as often, for the sums over lanes.
  for (int64_t first = begin; first <= x.place; first += kKeys * step) {
    Vec<T, kColumns> k[kKeys] = {}, v[kKeys] = {};
    float score[kKeys];
#pragma unroll
    for (int i = 0; i < kKeys; ++i) {
      const int64_t at = first + i * step + worker;
      if (at > x.place) continue;
      k[i] = load<kColumns>(x.key(at) + column);
      v[i] = load<kColumns>(x.value(at) + column);
    }
    float most = part.largest;
#pragma unroll
    for (int i = 0; i < kKeys; ++i) {
      float sum = 0;
#pragma unroll
      for (int j = 0; j < kColumns; ++j) sum = fmaf(q[j], to_float(k[i].v[j]), sum);
      score[i] = lanes_sum<lanes>(sum) * scale_log2;
      if (first + i * step + worker > x.place) score[i] = -INFINITY;
      most = fmaxf(most, score[i]);
    }
    if (most == -INFINITY) continue;
    const float keep = exp2f(part.largest - most);
    part.largest = most;
    part.total *= keep;
#pragma unroll
    for (float& o : part.output) o *= keep;
#pragma unroll
    for (int i = 0; i < kKeys; ++i) {
      const float p = exp2f(score[i] - most);
      part.total += p;
#pragma unroll
      for (int j = 0; j < kColumns; ++j) part.output[j] = fmaf(p, to_float(v[i].v[j]), part.output[j]);
    }
  }
  return part;
}

// The warp's workers as one, in each of them.
template <int lanes>
__device__ __forceinline__ void join_workers(PartOfSoftmax& part) {
#pragma unroll
  for (int step = lanes; step < 32; step *= 2) {
    // Both sides compute the same: the lower worker's part is the first.
    PartOfSoftmax other;
    other.largest = __shfl_xor_sync(kAllLanes, part.largest, step);
    other.total = __shfl_xor_sync(kAllLanes, part.total, step);
#pragma unroll
    for (int j = 0; j < kColumns; ++j) other.output[j] = __shfl_xor_sync(kAllLanes, part.output[j], step);
    if ((threadIdx.x & static_cast<unsigned>(step)) == 0)
      part.join(other.largest, other.total, other.output);
    else {
      other.join(part.largest, part.total, part.output);
      part = other;
    }
  }
}

template <class T, int dim>
struct Shared {
  alignas(16) T q[dim], k[dim];
  float output[kWarps][dim], largest[kWarps], total[kWarps];
};

// The softmax of all warps, for the thread's column, with the gate there; the store.
template <class T, int dim>
__device__ __forceinline__ void finish(const Shared<T, dim>& shared, const Step<T>& s, int head, float gate) {
  const int c = static_cast<int>(threadIdx.x);
  if (c >= dim) return;
  float most = -INFINITY, total = 0, sum = 0;
  for (int w = 0; w < kWarps; ++w) most = fmaxf(most, shared.largest[w]);
  for (int w = 0; w < kWarps; ++w) {
    const float keep = exp2f(shared.largest[w] - most);
    total += keep * shared.total[w];
    sum += keep * shared.output[w][c];
  }
  T y = from_float<T>(sum / total);
  if (s.gated) y = from_float<T>(to_float(y) * sigmoid(gate));
  s.y_NHd[(int64_t{blockIdx.y} * s.heads + head) * dim + c] = y;
}

template <class T, int dim>
__global__ void __launch_bounds__(kThreads) kernel(Step<T> s) {
  __shared__ Shared<T, dim> shared;
  constexpr int lanes = dim / kColumns, workers = kThreads / lanes;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  let_next_kernel_start();
  wait_for_earlier_kernels();
  const int head = static_cast<int>(blockIdx.x), group = s.heads / s.kv_heads, kv = head / group;
  const int64_t sequence = blockIdx.y, place = s.position_N[sequence];
  if (place < 0 || place >= s.capacity || place >= s.positions) return;  // a caller's mistake
  const T* const packed = s.packed_NP + sequence * s.packed;
  const float* const angles = s.rope_Td + place * dim;
  const int column = static_cast<int>(threadIdx.x);
  const float gate = s.gated && column < dim ? to_float(packed[head * s.query_stride + dim + column]) : 0.0F;
  if (warp == 0) rotate_head<T, dim>(shared.q, packed + head * s.query_stride, s.wq_d, angles, s.eps);
  if (warp == 1) rotate_head<T, dim>(shared.k, packed + s.keys + kv * dim, s.wk_d, angles, s.eps);
  __syncthreads();
  const int64_t stride = int64_t{s.kv_heads} * dim, cache = sequence * s.capacity * stride + kv * dim;
  const T* const value = packed + s.values + kv * dim;
  if (head % group == 0)
    for (int c = static_cast<int>(threadIdx.x); c < dim; c += kThreads) {
      s.k_cache[cache + place * stride + c] = shared.k[c];
      s.v_cache[cache + place * stride + c] = value[c];
    }
  float q[kColumns];
#pragma unroll
  for (int j = 0; j < kColumns; ++j) q[j] = to_float(shared.q[lane % lanes * kColumns + j]);
  const KeysAndValues<T> x{s.k_cache + cache, s.v_cache + cache, stride, shared.k, value, place};
  PartOfSoftmax part =
      attend<T, lanes>(q, x, first_key(0, static_cast<int>(place), s.window), workers, s.scale_log2);
  join_workers<lanes>(part);
  if (lane < lanes) {
#pragma unroll
    for (int j = 0; j < kColumns; ++j) shared.output[warp][lane * kColumns + j] = part.output[j];
    if (lane == 0) shared.largest[warp] = part.largest, shared.total[warp] = part.total;
  }
  __syncthreads();
  finish<T, dim>(shared, s, head, gate);
}

template <class T>
void run(cudaStream_t stream, AttentionStep& op) {
  const Heads& heads = op.heads;
  const Step<T> s{.y_NHd = pointer<T>(op.y_NHd),
                  .k_cache = pointer<T>(op.k_cache_BSGd),
                  .v_cache = pointer<T>(op.v_cache_BSGd),
                  .packed_NP = pointer<T>(op.packed_NP),
                  .wq_d = pointer<float>(op.wq_d),
                  .wk_d = pointer<float>(op.wk_d),
                  .rope_Td = pointer<float>(op.rope_Td),
                  .position_N = pointer<int32_t>(op.position_N),
                  .capacity = op.k_cache_BSGd.dim(1),
                  .positions = op.rope_Td.dim(0),
                  .eps = op.eps,
                  .scale_log2 = kLog2E / std::sqrt(static_cast<float>(heads.dim)),
                  .heads = static_cast<int>(heads.query),
                  .kv_heads = static_cast<int>(heads.kv),
                  .packed = static_cast<int>(heads.packed()),
                  .keys = static_cast<int>(heads.keys()),
                  .values = static_cast<int>(heads.values()),
                  .query_stride = static_cast<int>(heads.query_stride()),
                  .window = static_cast<int>(op.window),
                  .gated = heads.gated};
  const dim3 grid(blocks(heads.query), static_cast<unsigned>(op.packed_NP.dim(0)));
  const auto queue = [&](auto* kernel_of_width) {
    launch_early(stream, kernel_of_width, {grid, kThreads}, s);
  };
  switch (heads.dim) {
    case 16:
      return queue(kernel<T, 16>);
    case 32:
      return queue(kernel<T, 32>);
    case 64:
      return queue(kernel<T, 64>);
    case 128:
      return queue(kernel<T, 128>);
    default:
      return queue(kernel<T, 256>);
  }
}

// A norm over the whole projection needs all heads of a token at once.
bool takes(const AttentionStep& op) {
  const int64_t d = op.heads.dim;
  return few_rows_take(op.packed_NP, op.packed_NP.dim(1)) && op.heads.norm != QkNorm::projection && d >= 16 &&
         d <= 256 && (d & (d - 1)) == 0 && aligned_to_16(op.packed_NP, op.k_cache_BSGd, op.v_cache_BSGd);
}

}  // namespace

void GpuOps::attention_step(AttentionStep op) {
  op.check();
  if (!takes(op)) return Ops::attention_step(op);
  op.packed_NP.dtype() == DType::bf16 ? run<bf16>(stream_, op) : run<f16>(stream_, op);
}

}  // namespace moe::gpu
