// SPDX-License-Identifier: MIT
// Gradients of keys and values on Hopper: a piece of work is 128 keys of one kv head, 64 a warpgroup, which loops over the
// queries that see them, of all heads that share them. With p^T = exp(k q^T - lse), ds^T = p^T (v do^T - delta):
//   dv = p^T do,  dk = scale * ds^T q.
// k and v stay in registers as operands. While the exponentials of one tile are computed, the products of the other
// warpgroup are under way.
#pragma once

#include "gpu/attention_backward_hopper.cuh"
#include "gpu/dynamic_shared.cuh"

namespace moe::gpu::hopper {

// A tile of queries of one head.
struct alignas(1024) QueryStage {
  unsigned char q[kTileBytes], dout[kTileBytes];
  float lse[kTokens], delta[kTokens];  // lse to base 2, infinite for padding
};

struct KeyShared {
  static constexpr int kStages = 6;
  QueryStage stages[kStages];
  Pipeline<kStages> pipeline;
  Draw draw;
};

__host__ __device__ inline int key_pieces(const Shape& shape) {
  return (shape.T + kOwned - 1) / kOwned * shape.B * shape.G;
}

// Keys of one row and kv head, and the queries of each head that see some of them: from the first key up to `end`.
struct KeyWork {
  int row, kv_head, key, end;

  // `count` keys from `first` on of a piece; all lanes of a warp call it.
  __device__ __forceinline__ KeyWork(const BackwardInputs& in, int piece, int first, int count) {
    const Shape& shape = in.shape;
    const int pairs = shape.B * shape.G, pair = piece % pairs;
    row = pair / shape.G;
    kv_head = pair % shape.G;
    key = piece / pairs * kOwned + first;  // the first keys, which most queries see, come first
    end = key;
    for (int t = key + static_cast<int>(threadIdx.x) % 32; t < min(key + count, shape.T); t += 32)
      end = max(end, last_query(in, t) + 1);
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) end = max(end, __shfl_xor_sync(kAllLanes, end, lanes));
  }
  // A warpgroup holds a stage until its sums are done, and meanwhile skips the tiles that only the other's keys see (one
  // before its own, for each head, and all after them). If it skipped as many as there are stages, the copying warp
  // would wait for the held one, and it for the copying warp: beyond these it computes them, with weights of 0.
  __device__ __forceinline__ void skip_few(const KeyWork& all) {
    if (end > key) end = max(end, all.end - (KeyShared::kStages - 3) * kTokens);
  }
  // That sees key t; -1 for padding.
  __device__ __forceinline__ int last_query(const BackwardInputs& in, int t) const {
    if (t >= in.shape.T) return -1;
    const int64_t at = int64_t{row} * in.statistics.padded;
    const int first = in.statistics.first_BT[at + t];
    return first == kSeesNothing ? -1 : in.statistics.last_BT[at + first];
  }
};

__device__ __forceinline__ void copy_queries(KeyShared& shared, const CUtensorMap* q, const CUtensorMap* dout,
                                             const BackwardInputs& in) {
  const Shape& shape = in.shape;
  const int per_kv = shape.H / shape.G;
  Walk<KeyShared::kStages> walk;
  Walk<2> turn;
  for (;;) {
    const int piece = shared.draw.draw(in.next, turn);
    if (piece >= key_pieces(shape)) return;
    const KeyWork work(in, piece, 0, kOwned);
    for (int h = 0; h < per_kv; ++h) {
      const int head = work.kv_head * per_kv + h;
      for (int query = work.key; query < work.end; query += kTokens, walk.next()) {
        shared.pipeline.wait_empty(walk);
        if (one_lane()) {
          QueryStage& stage = shared.stages[walk.stage];
          Barrier* const full = &shared.pipeline.full[walk.stage];
          const int64_t at = in.statistics.at(work.row, shape.H, head, query);
          barrier_arrive_expect(full, 2 * kTileBytes + sizeof(stage.lse) + sizeof(stage.delta));
          tma_load(stage.q, q, full, head * kWidth, work.row * shape.T + query);
          tma_load(stage.dout, dout, full, head * kWidth, work.row * shape.T + query);
          bulk_load(stage.lse, in.statistics.lse_BHT + at, sizeof(stage.lse), full);
          bulk_load(stage.delta, in.statistics.delta_BHT + at, sizeof(stage.delta), full);
        }
        __syncwarp();
      }
    }
  }
}

// Scores (keys by queries) become weights.
__device__ __forceinline__ void weights_of(Fragment& s, const QueryStage& stage, float scale) {
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const auto lse = load<2>(stage.lse + 8 * j + fragment_column());
#pragma unroll
    for (int x = 0; x < 4; ++x) s[4 * j + x] = exp2_fast(s[4 * j + x] * scale - lse.v[x % 2]);
  }
}
// dp becomes ds.
__device__ __forceinline__ void differentiate(Fragment& dp, const Fragment& p, const QueryStage& stage) {
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const auto delta = load<2>(stage.delta + 8 * j + fragment_column());
#pragma unroll
    for (int x = 0; x < 4; ++x) dp[4 * j + x] = p[4 * j + x] * (dp[4 * j + x] - delta.v[x % 2]);
  }
}

// This thread's parts of the keys and values, and the queries that see them.
__device__ __forceinline__ void load_keys(Packed& k, Packed& v, Bounds& bounds, const BackwardInputs& in,
                                          const KeyWork& work) {
  const Shape& shape = in.shape;
  const bf16 *k_rows[2], *v_rows[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int key = work.key + fragment_row(i);
    const int64_t token = int64_t{work.row} * shape.T + min(key, shape.T - 1);
    k_rows[i] = in.k_NGd + (token * shape.G + work.kv_head) * kWidth;
    v_rows[i] = in.v + token * in.v_stride + work.kv_head * kWidth;
    bounds.begin[i] = key;
    bounds.end[i] = work.last_query(in, key);
  }
  load_rows(k, k_rows[0], k_rows[1]);
  load_rows(v, v_rows[0], v_rows[1]);
  bounds.join();
}

// A warpgroup's way through the block's tiles (`all`); those that only the other warpgroup's keys see are given back.
struct QueryTiles {
  KeyShared& shared;
  Walk<KeyShared::kStages>& walk;
  const KeyWork &all, &own;
  int heads, query;

  // Waits for the next tile; false: there is none.
  __device__ __forceinline__ bool find() {
    for (;; advance()) {
      if (query >= all.end) {
        if (--heads <= 0 || all.key >= all.end) return false;
        query = all.key;
      }
      shared.pipeline.wait_full(walk);
      if (query >= own.key && query < own.end) return true;
      shared.pipeline.release(walk.stage);
    }
  }
  __device__ __forceinline__ void advance() {
    query += kTokens;
    walk.next();
  }
  __device__ __forceinline__ const QueryStage& stage() const { return shared.stages[walk.stage]; }
};

// One piece of work of a warpgroup. The sums of a tile follow the scores of the next, and are under way while these become
// weights.
__device__ __forceinline__ void key_gradients(KeyShared& shared, Walk<KeyShared::kStages>& walk, bf16* dk_NGd,
                                              bf16* dv_to, int dv_stride, const BackwardInputs& in,
                                              const KeyWork& all, const KeyWork& work) {
  const Shape& shape = in.shape;
  Bounds bounds;
  Packed k, v, p, ds;
  load_keys(k, v, bounds, in, work);
  const float scale = shape.scale * kLog2e;
  Fragment dk = {}, dv = {}, s, dp;
  QueryTiles tiles{shared, walk, all, work, shape.H / shape.G, all.key};
  const auto score = [&] {
    wgmma_fence();
    multiply_rows(s, k, tiles.stage().q);
    wgmma_commit();
    multiply_rows(dp, v, tiles.stage().dout);
    wgmma_commit();
  };
  const auto weigh = [&] {
    weights_of(s, tiles.stage(), scale);
    if (!bounds.all_seen(tiles.query)) bounds.hide(s, tiles.query);
    compute_now(s);
  };
  const auto add = [&](int stage) {
    add_tokens(dv, p, shared.stages[stage].dout);
    add_tokens(dk, ds, shared.stages[stage].q);
    wgmma_commit();
  };
  if (tiles.find()) {
    score();
    wgmma_wait<1>();
    weigh();
    wgmma_wait<0>();
    differentiate(dp, s, tiles.stage());
    p = packed(s);
    ds = packed(dp);
    int before = walk.stage;
    for (tiles.advance(); tiles.find(); tiles.advance()) {
      score();
      add(before);
      wgmma_wait<2>();
      weigh();
      wgmma_wait<1>();
      differentiate(dp, s, tiles.stage());
      compute_now(dp);
      wgmma_wait<0>();
      shared.pipeline.release(before);
      before = walk.stage;
      p = packed(s);
      ds = packed(dp);
    }
    wgmma_fence();
    add(before);
    wgmma_wait<0>();
    shared.pipeline.release(before);
  }
  const int64_t token = int64_t{work.row} * shape.T + work.key;
  const auto row = [&](bf16* first, int64_t stride, int i) {
    const bool inside = work.key + fragment_row(i) < shape.T;
    return inside ? first + (token + fragment_row(i)) * stride + work.kv_head * kWidth : nullptr;
  };
  store_rows(dk, shape.scale, [&](int i) { return row(dk_NGd, int64_t{shape.G} * kWidth, i); });
  store_rows(dv, 1, [&](int i) { return row(dv_to, dv_stride, i); });
}

static __global__ void __launch_bounds__(kBackwardThreads, 1)
    key_kernel(const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap dout, bf16* dk_NGd,
               bf16* dv_to, int dv_stride, BackwardInputs in) {
  KeyShared& shared = *dynamic_shared<KeyShared>();
  if (threadIdx.x == 0) {
    shared.pipeline.init(2 * kGroup / 32);
    shared.draw.init();
    fence_barriers();
  }
  __syncthreads();
  const int group = static_cast<int>(threadIdx.x) / kGroup;
  if (group == 0) {
    fewer_registers<40>();
    if (threadIdx.x < 32) copy_queries(shared, &q, &dout, in);
    return;
  }
  more_registers<232>();
  Walk<KeyShared::kStages> walk;
  Walk<2> turn;
  for (;;) {
    const int piece = shared.draw.read(turn);
    if (piece >= key_pieces(in.shape)) return;
    const KeyWork all(in, piece, 0, kOwned);
    KeyWork own(in, piece, (group - 1) * kTokens, kTokens);
    own.skip_few(all);
    key_gradients(shared, walk, dk_NGd, dv_to, dv_stride, in, all, own);
  }
}

}  // namespace moe::gpu::hopper
