// SPDX-License-Identifier: MIT
// Attention backward in two kernels, so that every sum has one owner and a fixed order: one owns keys and loops over the
// queries (of all heads that share them) that see them, the other owns queries and loops over keys. Both recompute the
// probabilities p from the scores. With ds = p * (dp - delta), dp = do v^T, delta = sum of do * o over the width:
//   dv = p^T do,  dk = scale * ds^T q,  dq = scale * ds k.
// While the exponentials of one tile are computed, the products of the other warpgroup are under way.
#include <cmath>

#include "gpu/attention_hopper.cuh"
#include "gpu/attention_hopper.h"
#include "gpu/dynamic_shared.cuh"
#include "gpu/launch.h"
#include "gpu/tensor_map.h"

namespace moe::gpu {
namespace hopper {
namespace {

constexpr int kStages = 4;

// ---- delta ----

constexpr int kLanes = 8;  // for one head of one token, 8 elements each

__global__ void __launch_bounds__(256)
    delta_kernel(float* delta_NH, const bf16* do_NHd, const bf16* o_NHd, int64_t heads) {
  const int64_t head = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kLanes;
  const int64_t at = min(head, heads - 1) * kWidth + threadIdx.x % kLanes * 8;
  const auto a = load<8>(do_NHd + at), b = load<8>(o_NHd + at);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) sum += to_float(a.v[i]) * to_float(b.v[i]);
#pragma unroll
  for (int lanes = kLanes / 2; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(kAllLanes, sum, lanes);
  if (head < heads && threadIdx.x % kLanes == 0) delta_NH[head] = sum;
}

// ---- keys ----

// A tile of queries, and what each of them needs beside its q and do.
struct alignas(1024) QueryStage {
  unsigned char q[kTileBytes], dout[kTileBytes];
  float lse[kTokens], delta[kTokens];  // lse to base 2
  int first[kTokens];                  // above every key where nothing is seen
};

struct KeyShared {
  unsigned char k[2 * kTileBytes], v[2 * kTileBytes];
  QueryStage stages[kStages];
  Pipeline<kStages> pipeline;
  Barrier keys;
};

// The block's keys, and the queries [begin, end) that may see them.
struct KeyWork {
  int row, kv_head, key, begin, end;
};

__device__ __forceinline__ KeyWork find_key_work(const AttentionShape& shape) {
  const int pairs = shape.B * shape.G, x = static_cast<int>(blockIdx.x), pair = x % pairs;
  KeyWork work{pair / shape.G, pair % shape.G, x / pairs * kOwned, 0, 0};  // the first keys have most queries
  work.begin = work.key;
  int end = work.key + 1;  // one tile at least
  const int32_t* const first = shape.first_BT + int64_t{work.row} * shape.T;
  for (int t = work.key + static_cast<int>(threadIdx.x) % 32; t < shape.T; t += 32)
    if (first[t] >= 0 && first[t] < work.key + kOwned) end = max(end, t + 1);
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) end = max(end, __shfl_xor_sync(kAllLanes, end, lanes));
  work.end = end;
  return work;
}

__device__ __forceinline__ void copy_queries(KeyShared& shared, const CUtensorMap* q, const CUtensorMap* k,
                                             const CUtensorMap* v, const CUtensorMap* dout,
                                             const float* lse_NH, const float* delta_NH,
                                             const AttentionShape& shape, const KeyWork& work) {
  const int token = work.row * shape.T, per_kv = shape.H / shape.G, lane = static_cast<int>(threadIdx.x);
  if (one_lane()) {
    barrier_arrive_expect(&shared.keys, sizeof(shared.k) + sizeof(shared.v));
    tma_load(shared.k, k, &shared.keys, work.kv_head * kWidth, token + work.key);
    tma_load(shared.v, v, &shared.keys, work.kv_head * kWidth, token + work.key);
  }
  __syncwarp();
  Walk<kStages> walk;
  for (int h = 0; h < per_kv; ++h) {
    const int head = work.kv_head * per_kv + h;
    for (int query = work.begin; query < work.end; query += kTokens, walk.next()) {
      QueryStage& stage = shared.stages[walk.stage];
      shared.pipeline.wait_empty(walk);
      for (int i = lane; i < kTokens; i += 32) {
        const int t = query + i, first = t < shape.T ? shape.first_BT[token + t] : -1;
        const int64_t at = int64_t{token + min(t, shape.T - 1)} * shape.H + head;
        stage.lse[i] = lse_NH[at] * kLog2e;
        stage.delta[i] = delta_NH[at];
        stage.first[i] = first < 0 ? 1 << 30 : first;
      }
      // Each lane arrives, for what it wrote; one of them for the copies too.
      Barrier* const full = &shared.pipeline.full[walk.stage];
      if (one_lane()) {
        barrier_arrive_expect(full, 2 * kTileBytes);
        tma_load(stage.q, q, full, head * kWidth, token + query);
        tma_load(stage.dout, dout, full, head * kWidth, token + query);
      } else {
        barrier_arrive(full);
      }
      __syncwarp();
    }
  }
}

// s (keys by queries) becomes p, dp becomes ds.
__device__ __forceinline__ void differentiate(Fragment& s, Fragment& dp, const QueryStage& stage, int key,
                                              int query, float scale) {
#pragma unroll
  for (int j = 0; j < 8; ++j)
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const int column = 8 * j + fragment_column() + c, first = stage.first[column];
      const float lse = stage.lse[column], delta = stage.delta[column];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int x = 4 * j + 2 * i + c, row = key + fragment_row(i);
        const bool seen = row >= first && row <= query + column;
        s[x] = seen ? exp2_fast(s[x] * scale - lse) : 0;
        dp[x] = s[x] * (dp[x] - delta);
      }
    }
}

__device__ __forceinline__ void key_gradients(KeyShared& shared, bf16* dk_NGd, bf16* dv_NGd,
                                              const AttentionShape& shape, const KeyWork& work, int group) {
  const unsigned char *const k = shared.k + group * kTileBytes, *const v = shared.v + group * kTileBytes;
  const int key = work.key + group * kTokens;
  const int tiles = (work.end - work.begin + kTokens - 1) / kTokens, all = tiles * (shape.H / shape.G);
  Fragment dk, dv, s, dp;
  Walk<kStages> walk;
  // Scores of one tile of queries become operands; before them the sums of the tile before are done.
  const auto operands = [&](int tile, Packed& p, Packed& ds) {
    const QueryStage& stage = shared.stages[walk.stage];
    wgmma_fence();
    multiply_rows(s, k, stage.q);
    multiply_rows(dp, v, stage.dout);
    wgmma_commit();
    wgmma_wait<0>();
    differentiate(s, dp, stage, key, work.begin + tile % tiles * kTokens, shape.scale * kLog2e);
    p = packed(s);
    ds = packed(dp);
  };
  Packed p, ds;
  barrier_wait(&shared.keys, 0);
  shared.pipeline.wait_full(walk);
  operands(0, p, ds);
  wgmma_fence();
  add_tokens<true>(dv, p, shared.stages[0].dout);
  add_tokens<true>(dk, ds, shared.stages[0].q);
  wgmma_commit();
  for (int tile = 1; tile < all; ++tile) {
    const int before = walk.stage;
    walk.next();
    shared.pipeline.wait_full(walk);
    operands(tile, p, ds);
    shared.pipeline.release(before);
    wgmma_fence();
    add_tokens<false>(dv, p, shared.stages[walk.stage].dout);
    add_tokens<false>(dk, ds, shared.stages[walk.stage].q);
    wgmma_commit();
  }
  wgmma_wait<0>();
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int t = key + fragment_row(i);
    if (t >= shape.T) continue;
    const int64_t at = ((int64_t{work.row} * shape.T + t) * shape.G + work.kv_head) * kWidth;
    store_row(dk_NGd + at, dk, i, shape.scale);
    store_row(dv_NGd + at, dv, i, 1);
  }
}

__global__ void __launch_bounds__(3 * kGroup, 1)
    key_kernel(const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap k,
               const __grid_constant__ CUtensorMap v, const __grid_constant__ CUtensorMap dout, bf16* dk_NGd,
               bf16* dv_NGd, const float* lse_NH, const float* delta_NH, AttentionShape shape) {
  KeyShared& shared = *dynamic_shared<KeyShared>();
  if (threadIdx.x == 0) {
    shared.pipeline.init(2 * kGroup / 32, 32);
    barrier_init(&shared.keys, 1);
    fence_barriers();
  }
  __syncthreads();
  const KeyWork work = find_key_work(shape);
  const int group = static_cast<int>(threadIdx.x) / kGroup;
  if (group == 0) {
    fewer_registers<40>();
    if (threadIdx.x < 32) copy_queries(shared, &q, &k, &v, &dout, lse_NH, delta_NH, shape, work);
  } else {
    more_registers<232>();
    key_gradients(shared, dk_NGd, dv_NGd, shape, work, group - 1);
  }
}

// ---- queries ----

struct alignas(1024) KeyStage {
  unsigned char k[kTileBytes], v[kTileBytes];
};

struct QueryShared {
  unsigned char q[2 * kTileBytes], dout[2 * kTileBytes];
  KeyStage stages[kStages];
  Pipeline<kStages> pipeline;
  Barrier queries;
};

__device__ __forceinline__ void copy_keys(QueryShared& shared, const CUtensorMap* q, const CUtensorMap* k,
                                          const CUtensorMap* v, const CUtensorMap* dout,
                                          const AttentionShape& shape, const QueryWork& work) {
  const int token = work.row * shape.T, kv_column = work.head / (shape.H / shape.G) * kWidth;
  if (one_lane()) {
    barrier_arrive_expect(&shared.queries, sizeof(shared.q) + sizeof(shared.dout));
    tma_load(shared.q, q, &shared.queries, work.head * kWidth, token + work.query);
    tma_load(shared.dout, dout, &shared.queries, work.head * kWidth, token + work.query);
  }
  __syncwarp();
  Walk<kStages> walk;
  for (int key = work.begin; key < work.end; key += kTokens, walk.next()) {
    shared.pipeline.wait_empty(walk);
    if (one_lane()) {
      Barrier* const full = &shared.pipeline.full[walk.stage];
      barrier_arrive_expect(full, 2 * kTileBytes);
      tma_load(shared.stages[walk.stage].k, k, full, kv_column, token + key);
      tma_load(shared.stages[walk.stage].v, v, full, kv_column, token + key);
    }
    __syncwarp();
  }
}

// What a thread knows of its two queries.
struct Queries {
  int first[2], last[2];  // keys they see; none for padding
  float lse[2], delta[2];
};

__device__ __forceinline__ void query_gradients(QueryShared& shared, bf16* dq_NHd, const float* lse_NH,
                                                const float* delta_NH, const AttentionShape& shape,
                                                const QueryWork& work, int group) {
  const unsigned char *const q = shared.q + group * kTileBytes, *const dout =
                                                                    shared.dout + group * kTileBytes;
  Queries own;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int t = min(work.query + group * kTokens + fragment_row(i), shape.T - 1);
    const int64_t token = int64_t{work.row} * shape.T + t, at = token * shape.H + work.head;
    own.first[i] = shape.first_BT[token];
    own.last[i] = own.first[i] < 0 ? -1 : t;
    own.lse[i] = lse_NH[at] * kLog2e;
    own.delta[i] = delta_NH[at];
  }
  const float scale = shape.scale * kLog2e;
  Fragment dq, s, dp;
  Walk<kStages> walk;
  // As in key_gradients.
  const auto operand = [&](int key) {
    const KeyStage& stage = shared.stages[walk.stage];
    wgmma_fence();
    multiply_rows(s, q, stage.k);
    multiply_rows(dp, dout, stage.v);
    wgmma_commit();
    wgmma_wait<0>();
#pragma unroll
    for (int x = 0; x < 32; ++x) {
      const int i = x / 2 % 2, column = key + x / 4 * 8 + fragment_column() + x % 2;
      const bool seen = column >= own.first[i] && column <= own.last[i];
      dp[x] = seen ? exp2_fast(s[x] * scale - own.lse[i]) * (dp[x] - own.delta[i]) : 0;
    }
    return packed(dp);
  };
  barrier_wait(&shared.queries, 0);
  shared.pipeline.wait_full(walk);
  Packed ds = operand(work.begin);
  wgmma_fence();
  add_tokens<true>(dq, ds, shared.stages[0].k);
  wgmma_commit();
  for (int key = work.begin + kTokens; key < work.end; key += kTokens) {
    const int before = walk.stage;
    walk.next();
    shared.pipeline.wait_full(walk);
    ds = operand(key);
    shared.pipeline.release(before);
    wgmma_fence();
    add_tokens<false>(dq, ds, shared.stages[walk.stage].k);
    wgmma_commit();
  }
  wgmma_wait<0>();
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int t = work.query + group * kTokens + fragment_row(i);
    if (t < shape.T)
      store_row(dq_NHd + ((int64_t{work.row} * shape.T + t) * shape.H + work.head) * kWidth, dq, i,
                shape.scale);
  }
}

__global__ void __launch_bounds__(3 * kGroup, 1)
    query_kernel(const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap k,
                 const __grid_constant__ CUtensorMap v, const __grid_constant__ CUtensorMap dout,
                 bf16* dq_NHd, const float* lse_NH, const float* delta_NH, AttentionShape shape) {
  QueryShared& shared = *dynamic_shared<QueryShared>();
  if (threadIdx.x == 0) {
    shared.pipeline.init(2 * kGroup / 32);
    barrier_init(&shared.queries, 1);
    fence_barriers();
  }
  __syncthreads();
  const QueryWork work = find_query_work(shape);
  const int group = static_cast<int>(threadIdx.x) / kGroup;
  if (group == 0) {
    fewer_registers<40>();
    if (threadIdx.x < 32) copy_keys(shared, &q, &k, &v, &dout, shape, work);
  } else {
    more_registers<232>();
    query_gradients(shared, dq_NHd, lse_NH, delta_NH, shape, work, group - 1);
  }
}

}  // namespace
}  // namespace hopper

void hopper_attention_backward(cudaStream_t stream, float* delta_NH, Tensor& dq_NHd, Tensor& dk_NGd,
                               Tensor& dv_NGd, const Tensor& do_NHd, const Tensor& q_NHd, const Tensor& k_NGd,
                               const Tensor& v_NGd, const Tensor& o_NHd, const Tensor& lse_NH,
                               const Tensor& first_BT) {
  using namespace hopper;
  const int64_t N = q_NHd.dim(0), H = q_NHd.dim(1), G = k_NGd.dim(1);
  const AttentionShape shape = attention_shape(first_BT, H, G);
  const auto map = [N](const Tensor& t, int tokens) {
    return tensor_map(t.data(), N, t.dim(1) * kWidth, tokens);
  };
  const int64_t tiles = ceil_div(shape.T, kOwned) * shape.B;
  const float* const lse = pointer<float>(lse_NH);
  launch(stream, delta_kernel, {blocks(ceil_div(N * H * kLanes, 256)), 256}, delta_NH, pointer<bf16>(do_NHd),
         pointer<bf16>(o_NHd), N * H);
  launch(stream, key_kernel, {blocks(tiles * G), 3 * kGroup, sizeof(KeyShared)}, map(q_NHd, kTokens),
         map(k_NGd, kOwned), map(v_NGd, kOwned), map(do_NHd, kTokens), pointer<bf16>(dk_NGd),
         pointer<bf16>(dv_NGd), lse, static_cast<const float*>(delta_NH), shape);
  launch(stream, query_kernel, {blocks(tiles * H), 3 * kGroup, sizeof(QueryShared)}, map(q_NHd, kOwned),
         map(k_NGd, kTokens), map(v_NGd, kTokens), map(do_NHd, kOwned), pointer<bf16>(dq_NHd), lse,
         static_cast<const float*>(delta_NH), shape);
}

}  // namespace moe::gpu
