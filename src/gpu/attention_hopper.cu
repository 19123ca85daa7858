// SPDX-License-Identifier: MIT
// Attention forward (Dao et al. 2022; the order of work within a warpgroup is that of Shah et al. 2024): two warpgroups a
// block, 64 queries each, and two blocks a processor, so that the start and end of one are under way beside the other.
// The gate is applied when the results are stored. Tiles of keys go from the diagonal backwards: the first needs no look at the documents. While a warpgroup's exponentials
// are computed, its product with the values before them is under way.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "gpu/attention_forward_hopper.cuh"
#include "gpu/attention_hopper.cuh"
#include "gpu/attention_hopper.h"
#include "gpu/dynamic_shared.cuh"
#include "gpu/launch.h"
#include "gpu/sigmoid.cuh"
#include "gpu/tensor_map.h"
#include "ops/ops.h"

namespace moe::gpu {
namespace hopper {
namespace two_blocks {
namespace {

constexpr int kStages = 6;
constexpr int kAhead = kStages - 2;  // tiles asked for before they are needed; the others are being read
constexpr int kThreads = 2 * kGroup;

struct Shared {
  KeyStage stages[kStages];
  Pipeline<kStages> pipeline;
};

// Running maximum and sum of exponentials of this thread's two queries, and which keys they see.
struct Softmax {
  float largest[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
  const int32_t* first_T;  // of the row
  int query, length;       // the first of the two queries; of the row
  int from, to;            // keys that all queries of this warp see: from ... to
  float scale;             // to base 2

  __device__ __forceinline__ Softmax(const Shape& shape, int row, int query_of_group)
      : first_T(shape.first_BT + int64_t{row} * shape.T),
        query(query_of_group + fragment_row(0)),
        length(shape.T),
        from(0),
        to(1 << 30),
        scale(shape.scale * kLog2e) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      from = max(from, first(i));
      to = min(to, last(i));
    }
#pragma unroll
    for (int lanes = 16; lanes > 2; lanes /= 2) {
      from = max(from, __shfl_xor_sync(kAllLanes, from, lanes));
      to = min(to, __shfl_xor_sync(kAllLanes, to, lanes));
    }
  }

  // Query i sees the keys first(i) ... last(i); none where it is padding. Read again where needed: registers are few.
  __device__ __forceinline__ int first(int i) const {
    const int t = query + 8 * i;
    return t < length ? first_T[t] : -1;
  }
  __device__ __forceinline__ int last(int i) const {
    return first(i) < 0 ? -1 : query + 8 * i;
  }

  // Scores of 64 keys from `key` on become exponentials. True if earlier results shrink: by these factors.
  __device__ __forceinline__ bool update(Fragment& s, float (&shrink)[2], int key) {
    if (key < from || key + kTokens - 1 > to) hide(s, key);
    const float tops[2] = {row_maximum(s, 0), row_maximum(s, 1)};
    bool shrinks = false;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float before = largest[i], top = tops[i];
      const float base = top == -INFINITY ? 0 : top * scale;
      shrink[i] = top == before ? 1 : exp2_fast(before * scale - base);
      shrinks |= top != before;
      largest[i] = top;
      float added[2] = {0, 0};
#pragma unroll
      for (int j = 0; j < 8; ++j)
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          float& x = s[4 * j + 2 * i + c];
          x = exp2_fast(x * scale - base);
          added[c] += x;
        }
      sum[i] = sum[i] * shrink[i] + (added[0] + added[1]);
    }
    return __any_sync(kAllLanes, shrinks) != 0;
  }

  // Of the scores and what came before.
  __device__ __forceinline__ float row_maximum(const Fragment& s, int i) const {
    float top = largest[i], other = s[2 * i];
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      top = fmaxf(top, s[4 * j + 2 * i + 1]);
      other = fmaxf(other, s[4 * j + 2 * i]);
    }
    top = fmaxf(top, other);
    top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 1));
    return fmaxf(top, __shfl_xor_sync(kAllLanes, top, 2));
  }

  __device__ __forceinline__ void hide(Fragment& s, int key) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int begin = first(i) - key - fragment_column(), end = last(i) - key - fragment_column();
#pragma unroll
      for (int j = 0; j < 8; ++j)
#pragma unroll
        for (int c = 0; c < 2; ++c)
          if (8 * j + c < begin || 8 * j + c > end) s[4 * j + 2 * i + c] = -INFINITY;
    }
  }
};

// Asks for tiles of keys and values, one after the other; warp 0 calls it.
struct Filler {
  const CUtensorMap *k, *v;
  int column, token;  // of the next tile in the matrices
  Walk<kStages> walk;

  __device__ __forceinline__ void next(Shared& shared) {
    shared.pipeline.wait_empty(walk);
    if (one_lane()) {
      KeyStage& stage = shared.stages[walk.stage];
      Barrier* const full = &shared.pipeline.full[walk.stage];
      barrier_arrive_expect(full, sizeof(KeyStage));
      tma_load(stage.k, k, full, column, token);
      tma_load(stage.v, v, full, column, token);
    }
    __syncwarp();
    walk.next();
    token -= kTokens;
  }
};

// Where the results go, and the gates (of the first token and head) with the elements from a token to the next.
struct Results {
  bf16 *y_NHd, *o_NHd;
  float* lse_NH;
  const bf16* gates;
  int64_t gate_stride;
};

__device__ __forceinline__ void store_results(const Results& to, const Fragment& o, const Softmax& softmax,
                                              const Shape& shape, const QueryWork<2>& work, int group) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    float sum = softmax.sum[i];
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    const int t = work.query_of(group) + fragment_row(i), head = work.head_of(group);
    const int64_t token = int64_t{work.row} * shape.T + t, at = token * shape.H + head;
    const bool padding = softmax.first(i) < 0;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      auto piece = row_piece(o, i, half, padding ? 0 : 1 / sum);
      if (t >= shape.T) continue;
      store(to.o_NHd + at * kWidth + piece_column(half), piece);
      const auto gate = load<8>(to.gates + token * to.gate_stride + 2 * head * kWidth + piece_column(half));
#pragma unroll
      for (int c = 0; c < 8; ++c)
        piece.v[c] = from_float<bf16>(to_float(piece.v[c]) * sigmoid(to_float(gate.v[c])));
      store(to.y_NHd + at * kWidth + piece_column(half), piece);
    }
    if (t < shape.T && fragment_column() == 0)
      to.lse_NH[at] = padding ? 0 : softmax.largest[i] * shape.scale + logf(sum);
  }
}

__global__ void __launch_bounds__(kThreads, 2)
    forward_kernel(const __grid_constant__ CUtensorMap k, const __grid_constant__ CUtensorMap v,
                   const bf16* q_NHd, Results results, Shape shape) {
  Shared& shared = *dynamic_shared<Shared>();
  const QueryWork<2> work = query_work<2>(shape, static_cast<int>(blockIdx.x));
  const int group = static_cast<int>(threadIdx.x) / kGroup, token = work.row * shape.T;
  const bool fills = threadIdx.x < 32;
  const int end = min(work.query + work.queries, shape.T), newest = (end - 1) / kTokens * kTokens;
  Filler filler{&k, &v, work.head / (shape.H / shape.G) * kWidth, token + newest, {}};
  if (fills) {
    if (threadIdx.x == 0) {
      shared.pipeline.init(kThreads / 32);
      fence_barriers();
    }
    __syncwarp();
    filler.next(shared);
  }
  Packed q, p;
  const auto query_row = [&](int i) {
    const int t = min(work.query_of(group) + fragment_row(i), shape.T - 1);
    return q_NHd + (int64_t{token + t} * shape.H + work.head_of(group)) * kWidth;
  };
  load_rows(q, query_row(0), query_row(1));
  Softmax softmax(shape, work.row, work.query_of(group));
  const int oldest = min(smallest_first(shape.first_BT + token, work.query, end), newest) / kTokens * kTokens;
  __syncthreads();
  const int tiles = (newest - oldest) / kTokens + 1;
  if (fills)
    for (int tile = 1; tile < min(kAhead, tiles); ++tile) filler.next(shared);

  Fragment o = {}, s;
  float shrink[2];
  Walk<kStages> walk;
  const auto score = [&] {
    wgmma_fence();
    multiply_rows(s, q, shared.stages[walk.stage].k);
    wgmma_commit();
  };
  shared.pipeline.wait_full(walk);
  score();
  wgmma_wait<0>();
  softmax.update(s, shrink, newest);
  p = packed(s);
  for (int tile = 1; tile < tiles; ++tile) {
    const int before = walk.stage;
    walk.next();
    shared.pipeline.wait_full(walk);
    score();
    add_tokens(o, p, shared.stages[before].v);
    wgmma_commit();
    wgmma_wait<1>();
    const bool shrinks = softmax.update(s, shrink, newest - tile * kTokens);
    compute_now(s);
    // Here and not before: ptxas moves a wait up to the last branch, and so would wait before the exponentials.
    if (fills && tile + kAhead - 1 < tiles) filler.next(shared);
    wgmma_wait<0>();
    shared.pipeline.release(before);
    if (shrinks) {
#pragma unroll
      for (int x = 0; x < 32; ++x) o[x] *= shrink[x / 2 % 2];
    }
    p = packed(s);
  }
  wgmma_fence();
  add_tokens(o, p, shared.stages[walk.stage].v);
  wgmma_commit();
  wgmma_wait<0>();
  store_results(results, o, softmax, shape, work, group);
}

}  // namespace
}  // namespace two_blocks
}  // namespace hopper

bool hopper_takes_attention(const Tensor& q_NHd) {
  return q_NHd.dtype() == DType::bf16 && q_NHd.dim(2) == hopper::kWidth && q_NHd.dim(0) > 0;
}

void hopper_attention_forward(cudaStream_t stream, int processors, int* next, Tensor& y_NHd, Tensor& o_NHd,
                              Tensor& lse_NH, const Tensor& q_NHd, const Tensor& k_NGd,
                              const Tensor& packed_NP, const Tensor& first_BT) {
  using namespace hopper;
  const int64_t N = q_NHd.dim(0), H = q_NHd.dim(1), G = k_NGd.dim(1);
  const Heads heads{H, G, kWidth};
  const Shape shape = shape_of(first_BT, H, G);
  const bf16* const packed = pointer<bf16>(packed_NP);
  const CUtensorMap keys = tensor_map(k_NGd.data(), N, G * kWidth, kTokens);
  const CUtensorMap values = tensor_map(packed + heads.values(), N, G * kWidth, kTokens, heads.packed());
  const char* const variant = std::getenv("MOE_ATTENTION");  // for measurements, until one of them is chosen
  const std::string name = variant == nullptr ? "" : variant;
  if (name == "two_blocks") {
    const two_blocks::Results results{pointer<bf16>(y_NHd), pointer<bf16>(o_NHd), pointer<float>(lse_NH),
                                      packed + heads.gate(0), heads.packed()};
    launch(stream, two_blocks::forward_kernel,
           {blocks(query_blocks<2>(shape)), two_blocks::kThreads, sizeof(two_blocks::Shared)}, keys, values,
           pointer<bf16>(q_NHd), results, shape);
    return;
  }
  const Results results{pointer<bf16>(y_NHd), pointer<bf16>(o_NHd), pointer<float>(lse_NH)};
  CUDA_CHECK(cudaMemsetAsync(next, 0, sizeof(int), stream));
  launch(stream, name == "keep_base" ? forward_kernel<true> : forward_kernel<false>,
         {blocks(std::min(query_blocks<kForwardGroups>(shape), processors)), kForwardThreads,
          sizeof(ForwardShared)},
         keys, values, tensor_map(q_NHd.data(), N, H * kWidth, kTokens),
         tensor_map(packed + heads.gate(0), N, (2 * H - 1) * kWidth, kTokens, heads.packed()), results, shape,
         next);
}

}  // namespace moe::gpu
