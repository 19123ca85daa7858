// SPDX-License-Identifier: MIT
// Gradients of queries on Hopper: a piece of work is 128 queries (QueryWork), 64 a warpgroup, which loops over the keys
// that they see. With p = exp(q k^T - lse):  dq = scale * (p (do v^T - delta)) k.   q and do stay in registers as
// operands; the rest is as in attention_keys_hopper.cuh.
#pragma once

#include "gpu/attention_backward_hopper.cuh"
#include "gpu/dynamic_shared.cuh"

namespace moe::gpu::hopper {

struct QueryShared {
  static constexpr int kStages = 8;
  KeyStage stages[kStages];
  Pipeline<kStages> pipeline;
  Draw draw;
};

// The keys that a block's queries see: tiles from `begin` up to `end`. All lanes of a warp call it.
struct KeySpan {
  int begin, end;
  __device__ __forceinline__ KeySpan(const Shape& shape, const QueryWork& work)
      : end(min(work.query + work.queries, shape.T)) {
    const int first = smallest_first(shape.first_BT + int64_t{work.row} * shape.T, work.query, end);
    begin = min(first, end) / kTokens * kTokens;  // padding alone sees nothing
  }
};

__device__ __forceinline__ void copy_keys(QueryShared& shared, const CUtensorMap* k, const CUtensorMap* v,
                                          const BackwardInputs& in) {
  const Shape& shape = in.shape;
  Walk<QueryShared::kStages> walk;
  Walk<2> turn;
  for (;;) {
    const int piece = shared.draw.draw(in.next, turn);
    if (piece >= query_blocks(shape)) return;
    const QueryWork work = query_work(shape, piece);
    const KeySpan span(shape, work);
    const int column = work.head / (shape.H / shape.G) * kWidth;
    for (int key = span.begin; key < span.end; key += kTokens, walk.next()) {
      shared.pipeline.wait_empty(walk);
      if (one_lane()) {
        KeyStage& stage = shared.stages[walk.stage];
        Barrier* const full = &shared.pipeline.full[walk.stage];
        barrier_arrive_expect(full, sizeof(KeyStage));
        tma_load(stage.k, k, full, column, work.row * shape.T + key);
        tma_load(stage.v, v, full, column, work.row * shape.T + key);
      }
      __syncwarp();
    }
  }
}

// Scores (queries by keys) become weights, dp becomes ds.
__device__ __forceinline__ void weights_of(Fragment& s, const float (&lse)[2], float scale) {
#pragma unroll
  for (int x = 0; x < 32; ++x) s[x] = exp2_fast(s[x] * scale - lse[x / 2 % 2]);
}
__device__ __forceinline__ void differentiate(Fragment& dp, const Fragment& p, const float (&delta)[2]) {
#pragma unroll
  for (int x = 0; x < 32; ++x) dp[x] = p[x] * (dp[x] - delta[x / 2 % 2]);
}

__device__ __forceinline__ void query_gradients(QueryShared& shared, Walk<QueryShared::kStages>& walk,
                                                bf16* dq_NHd, const BackwardInputs& in, const QueryWork& work,
                                                int group) {
  const Shape& shape = in.shape;
  const KeySpan span(shape, work);
  const int query = work.query_of(group), head = work.head_of(group);
  Bounds bounds;
  float lse[2], delta[2];
  int64_t rows[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int t = query + fragment_row(i), inside = min(t, shape.T - 1);
    const int64_t at = in.statistics.at(work.row, shape.H, head, inside);
    const int first = in.statistics.first_BT[in.statistics.at(work.row, 1, 0, inside)];
    rows[i] = ((int64_t{work.row} * shape.T + inside) * shape.H + head) * kWidth;
    lse[i] = in.statistics.lse_BHT[at];
    delta[i] = in.statistics.delta_BHT[at];
    bounds.begin[i] = first;
    bounds.end[i] = t;
  }
  Packed q, dout, ds;
  load_rows(q, in.q_NHd + rows[0], in.q_NHd + rows[1]);
  load_rows(dout, in.do_NHd + rows[0], in.do_NHd + rows[1]);
  bounds.join();
  const float scale = shape.scale * kLog2e;
  Fragment dq = {}, s, dp;
  int key = span.begin;
  const auto score = [&] {
    shared.pipeline.wait_full(walk);
    wgmma_fence();
    multiply_rows(s, q, shared.stages[walk.stage].k);
    wgmma_commit();
    multiply_rows(dp, dout, shared.stages[walk.stage].v);
    wgmma_commit();
  };
  const auto weigh = [&] {
    weights_of(s, lse, scale);
    if (!bounds.all_seen(key)) bounds.hide(s, key);
    compute_now(s);
  };
  const auto add = [&](int stage) {
    add_tokens(dq, ds, shared.stages[stage].k);
    wgmma_commit();
  };
  const auto advance = [&] {
    key += kTokens;
    walk.next();
  };
  const int end = min(span.end, query + kTokens);
  if (key < end) {
    score();
    wgmma_wait<1>();
    weigh();
    wgmma_wait<0>();
    differentiate(dp, s, delta);
    ds = packed(dp);
    int before = walk.stage;
    for (advance(); key < end; advance()) {
      score();
      add(before);
      wgmma_wait<2>();
      weigh();
      wgmma_wait<1>();
      differentiate(dp, s, delta);
      compute_now(dp);
      wgmma_wait<0>();
      shared.pipeline.release(before);
      before = walk.stage;
      ds = packed(dp);
    }
    wgmma_fence();
    add(before);
    wgmma_wait<0>();
    shared.pipeline.release(before);
  }
  for (; key < span.end; advance()) {  // which only the other warpgroup's queries see
    shared.pipeline.wait_full(walk);
    shared.pipeline.release(walk.stage);
  }
  store_rows(dq, shape.scale,
             [&](int i) { return query + fragment_row(i) < shape.T ? dq_NHd + rows[i] : nullptr; });
}

static __global__ void __launch_bounds__(kBackwardThreads, 1)
    query_kernel(const __grid_constant__ CUtensorMap k, const __grid_constant__ CUtensorMap v, bf16* dq_NHd,
                 BackwardInputs in) {
  QueryShared& shared = *dynamic_shared<QueryShared>();
  if (threadIdx.x == 0) {
    shared.pipeline.init(2 * kGroup / 32);
    shared.draw.init();
    fence_barriers();
  }
  __syncthreads();
  const int group = static_cast<int>(threadIdx.x) / kGroup;
  if (group == 0) {
    fewer_registers<40>();
    if (threadIdx.x < 32) copy_keys(shared, &k, &v, in);
    return;
  }
  more_registers<232>();
  Walk<QueryShared::kStages> walk;
  Walk<2> turn;
  for (;;) {
    const int piece = shared.draw.read(turn);
    if (piece >= query_blocks(in.shape)) return;
    query_gradients(shared, walk, dq_NHd, in, query_work(in.shape, piece), group - 1);
  }
}

}  // namespace moe::gpu::hopper
