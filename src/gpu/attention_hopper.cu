// SPDX-License-Identifier: MIT
// Attention forward (Dao et al. 2022; the order of work within a warpgroup is that of Shah et al. 2024): a block takes
// 128 queries of one head, a warpgroup 64 of them. While a warpgroup's exponentials are computed, its product with the
// values before them is under way.
#include "gpu/attention_hopper.h"

#include "gpu/attention_hopper.cuh"
#include "gpu/dynamic_shared.cuh"
#include "gpu/launch.h"
#include "gpu/tensor_map.h"

namespace moe::gpu {
namespace hopper {
namespace {

constexpr int kStages = 4;

struct Shared {
  unsigned char q[2 * kTileBytes];
  unsigned char k[kStages][kTileBytes], v[kStages][kTileBytes];
  Pipeline<kStages> keys, values;
  Barrier queries;
};

__device__ __forceinline__ void copy_tiles(Shared& shared, const CUtensorMap* q, const CUtensorMap* k,
                                           const CUtensorMap* v, const AttentionShape& shape,
                                           const QueryWork& work) {
  const int token = work.row * shape.T, kv_column = work.head / (shape.H / shape.G) * kWidth;
  if (one_lane()) {
    barrier_arrive_expect(&shared.queries, sizeof(shared.q));
    tma_load(shared.q, q, &shared.queries, work.head * kWidth, token + work.query);
  }
  __syncwarp();
  Walk<kStages> walk;
  for (int key = work.begin; key < work.end; key += kTokens, walk.next()) {
    shared.keys.wait_empty(walk);
    if (one_lane()) {
      barrier_arrive_expect(&shared.keys.full[walk.stage], kTileBytes);
      tma_load(shared.k[walk.stage], k, &shared.keys.full[walk.stage], kv_column, token + key);
    }
    __syncwarp();
    shared.values.wait_empty(walk);
    if (one_lane()) {
      barrier_arrive_expect(&shared.values.full[walk.stage], kTileBytes);
      tma_load(shared.v[walk.stage], v, &shared.values.full[walk.stage], kv_column, token + key);
    }
    __syncwarp();
  }
}

// Running maximum and sum of exponentials of this thread's two queries, and which keys they see.
struct Softmax {
  float largest[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
  int first[2], last[2];  // keys first ... last; none for padding
  float scale;            // to base 2

  // Scores of 64 keys from `key` on become exponentials. Returns by how much earlier results shrink.
  __device__ __forceinline__ void update(Fragment& s, float (&shrink)[2], int key) {
    const bool hidden = key < max(first[0], first[1]) || key + kTokens - 1 > min(last[0], last[1]);
    if (__any_sync(kAllLanes, hidden)) hide(s, key);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float top = largest[i];
#pragma unroll
      for (int j = 0; j < 8; ++j) top = fmaxf(top, fmaxf(s[4 * j + 2 * i], s[4 * j + 2 * i + 1]));
      top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 1));
      top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 2));
      const float base = top == -INFINITY ? 0 : top * scale;
      shrink[i] = exp2_fast(largest[i] * scale - base);
      largest[i] = top;
      float added = 0;
#pragma unroll
      for (int j = 0; j < 8; ++j)
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          float& x = s[4 * j + 2 * i + c];
          x = exp2_fast(x * scale - base);
          added += x;
        }
      sum[i] = sum[i] * shrink[i] + added;
    }
  }

  __device__ __forceinline__ void hide(Fragment& s, int key) const {
#pragma unroll
    for (int x = 0; x < 32; ++x) {
      const int column = key + x / 4 * 8 + fragment_column() + x % 2, i = x / 2 % 2;
      if (column < first[i] || column > last[i]) s[x] = -INFINITY;
    }
  }
};

__device__ __forceinline__ Softmax begin_softmax(const AttentionShape& shape, const QueryWork& work,
                                                 int group) {
  Softmax softmax;
  softmax.scale = shape.scale * kLog2e;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int t = work.query + group * kTokens + fragment_row(i);
    softmax.first[i] = t < shape.T ? shape.first_BT[int64_t{work.row} * shape.T + t] : -1;
    softmax.last[i] = softmax.first[i] < 0 ? -1 : t;
  }
  return softmax;
}

__device__ __forceinline__ void attend(Shared& shared, bf16* o_NHd, float* lse_NH,
                                       const AttentionShape& shape, const QueryWork& work, int group) {
  Softmax softmax = begin_softmax(shape, work, group);
  Fragment o = {}, s;
  Packed p;
  float shrink[2];
  Walk<kStages> keys, values;
  const unsigned char* const q = shared.q + group * kTileBytes;
  const auto score = [&](int stage) {
    wgmma_fence();
    multiply_rows(s, q, shared.k[stage]);
    wgmma_commit();
  };
  barrier_wait(&shared.queries, 0);
  shared.keys.wait_full(keys);
  score(keys.stage);
  wgmma_wait<0>();
  shared.keys.release(keys.stage);
  softmax.update(s, shrink, work.begin);
  p = packed(s);
  for (int key = work.begin + kTokens; key < work.end; key += kTokens) {
    keys.next();
    shared.keys.wait_full(keys);
    shared.values.wait_full(values);  // of the tile before
    score(keys.stage);
    add_tokens<false>(o, p, shared.v[values.stage]);
    wgmma_commit();
    wgmma_wait<1>();
    shared.keys.release(keys.stage);
    softmax.update(s, shrink, key);
    wgmma_wait<0>();
    shared.values.release(values.stage);
    values.next();
#pragma unroll
    for (int x = 0; x < 32; ++x) o[x] *= shrink[x / 2 % 2];
    p = packed(s);
  }
  shared.values.wait_full(values);
  wgmma_fence();
  add_tokens<false>(o, p, shared.v[values.stage]);
  wgmma_commit();
  wgmma_wait<0>();
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    float sum = softmax.sum[i];
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    const int t = work.query + group * kTokens + fragment_row(i);
    if (t >= shape.T) continue;
    const int64_t at = (int64_t{work.row} * shape.T + t) * shape.H + work.head;
    const bool padding = softmax.last[i] < 0;
    store_row(o_NHd + at * kWidth, o, i, padding ? 0 : 1 / sum);
    if (fragment_column() == 0) lse_NH[at] = padding ? 0 : softmax.largest[i] * shape.scale + logf(sum);
  }
}

__global__ void __launch_bounds__(3 * kGroup, 1)
    forward_kernel(const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap k,
                   const __grid_constant__ CUtensorMap v, bf16* o_NHd, float* lse_NH, AttentionShape shape) {
  Shared& shared = *dynamic_shared<Shared>();
  if (threadIdx.x == 0) {
    shared.keys.init(2 * kGroup / 32);
    shared.values.init(2 * kGroup / 32);
    barrier_init(&shared.queries, 1);
    fence_barriers();
  }
  __syncthreads();
  const QueryWork work = find_query_work(shape);
  const int group = static_cast<int>(threadIdx.x) / kGroup;
  if (group == 0) {
    fewer_registers<40>();
    if (threadIdx.x < 32) copy_tiles(shared, &q, &k, &v, shape, work);
  } else {
    more_registers<232>();
    attend(shared, o_NHd, lse_NH, shape, work, group - 1);
  }
}

}  // namespace
}  // namespace hopper

bool hopper_takes_attention(const Tensor& q_NHd) {
  return q_NHd.dtype() == DType::bf16 && q_NHd.dim(2) == hopper::kWidth && q_NHd.dim(0) > 0;
}

void hopper_attention_forward(cudaStream_t stream, Tensor& o_NHd, Tensor& lse_NH, const Tensor& q_NHd,
                              const Tensor& k_NGd, const Tensor& v_NGd, const Tensor& first_BT) {
  using namespace hopper;
  const int64_t N = q_NHd.dim(0), H = q_NHd.dim(1), G = k_NGd.dim(1);
  const AttentionShape shape = attention_shape(first_BT, H, G);
  const auto map = [N](const Tensor& t, int tokens) {
    return tensor_map(t.data(), N, t.dim(1) * kWidth, tokens);
  };
  launch(stream, forward_kernel,
         {blocks(ceil_div(shape.T, kOwned) * shape.B * H), 3 * kGroup, sizeof(Shared)}, map(q_NHd, kOwned),
         map(k_NGd, kTokens), map(v_NGd, kTokens), pointer<bf16>(o_NHd), pointer<float>(lse_NH), shape);
}

}  // namespace moe::gpu
