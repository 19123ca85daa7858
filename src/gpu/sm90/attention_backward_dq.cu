// SPDX-License-Identifier: MIT
// Gradients of queries on Hopper: a piece of work is 128 queries (QueryWork), 64 a warpgroup, which loops
// over the keys that they see. With p = exp(q k^T - lse):  dq = scale * (p (do v^T - delta)) k.
// q and, where there is room, do stay in registers as operands; the rest is as in attention_backward_dkv.cu.
#include <algorithm>

#include "gpu/dynamic_shared.cuh"
#include "gpu/launch.h"
#include "gpu/sm90/attention_backward.cuh"
#include "gpu/sm90/attention_store.cuh"
#include "gpu/sm90/half_type.cuh"

namespace moe::gpu::sm90 {
namespace {

// What a warpgroup reads once: its queries and what belongs to them.
template <int width>
struct alignas(1024) OwnQueries {
  unsigned char q[kTileBytes<width>], dout[kTileBytes<width>];
  float lse[kTokens], delta[kTokens];
  int first[kTokens];  // key that a query sees
};

struct QueryPiece {
  int index, begin;  // of all pieces; the first key of the first tile
};

template <int head_width>
struct QueryShared {
  static constexpr int kWidth = head_width;
  static constexpr int kStages = kWidth == 64 ? 8 : 5, kPieces = kWidth == 64 ? 2 : 1;
  static constexpr bool kOutputInRegisters = kWidth == 64;
  KeyStage<kWidth> stages[kStages];
  OwnQueries<kWidth> own[kPieces][2];  // of so many pieces of work, of each warpgroup
  Pipeline<kStages> pipeline;
  Pipeline<kPieces> owned[2];
  TileScheduler<QueryPiece> scheduler;
};

// Key tiles of a piece: from its `begin` up to here.
__device__ __forceinline__ int keys_end(const Shape& shape, const QueryWork<2>& work) {
  return min(work.query + work.queries, shape.T);
}

// The warp that copies keys and values; it also draws the work.
template <class Shared>
__device__ __forceinline__ void copy_keys(Shared& shared, const CUtensorMap* k, const CUtensorMap* v,
                                          const BackwardInputs& in) {
  constexpr int width = Shared::kWidth;
  const Shape& shape = in.shape;
  PipelineState<Shared::kStages> walk;
  PipelineState<2> turn;
  for (;;) {
    QueryPiece piece{shared.scheduler.next_tile(in.next, turn), 0};
    if (piece.index >= query_blocks<2>(shape)) return shared.scheduler.publish(turn, piece);
    const QueryWork<2> work = query_work<2, width>(shape, piece.index);
    const int end = keys_end(shape, work);
    const int first =
        smallest_first(in.statistics.first_BT + in.statistics.at(work.row, 1, 0, 0), work.query, end);
    piece.begin = min(first, end) / kTokens * kTokens;  // padding alone sees nothing
    shared.scheduler.publish(turn, piece);
    const int column = work.head / (shape.H / shape.G) * width;
    for (int key = piece.begin; key < end; key += kTokens, walk.next())
      copy_key_tile<width>(shared, walk, k, v, column, work.row * shape.T + key);
  }
}

// The warp that copies what each warpgroup reads once, a piece or two ahead.
template <class Shared>
__device__ __forceinline__ void copy_own(Shared& shared, const CUtensorMap* q, const CUtensorMap* dout,
                                         const BackwardInputs& in) {
  constexpr int width = Shared::kWidth;
  const Shape& shape = in.shape;
  PipelineState<2> turn;
  PipelineState<Shared::kPieces> walk;
  for (;; walk.next()) {
    const QueryPiece piece = shared.scheduler.read(turn);
    if (piece.index >= query_blocks<2>(shape)) return;
    const QueryWork<2> work = query_work<2, width>(shape, piece.index);
    for (int g = 0; g < 2; ++g) {
      shared.owned[g].wait_empty(walk);
      if (elect_one()) {
        const int query = work.query_of(g), head = work.head_of(g), token = work.row * shape.T + query;
        OwnQueries<width>& own = shared.own[walk.stage][g];
        Barrier* const full = &shared.owned[g].full[walk.stage];
        if (query < shape.T) {
          barrier_arrive_expect(full, 2 * kTileBytes<width> + 3 * sizeof(own.lse));
          load_tile<width>(own.q, q, full, head * width, token);
          load_tile<width>(own.dout, dout, full, head * width, token);
          const int64_t at = in.statistics.at(work.row, shape.H, head, query);
          bulk_load(own.lse, in.statistics.lse_BHT + at, sizeof(own.lse), full);
          bulk_load(own.delta, in.statistics.delta_BHT + at, sizeof(own.delta), full);
          bulk_load(own.first, in.statistics.first_BT + in.statistics.at(work.row, 1, 0, query),
                    sizeof(own.first), full);
        } else {
          barrier_arrive(full);  // nothing to read
        }
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

template <class T, class Shared>
__device__ __forceinline__ void query_gradients(Shared& shared, PipelineState<Shared::kStages>& walk,
                                                const PipelineState<Shared::kPieces>& copied, T* dq_NHd,
                                                const BackwardInputs& in, const QueryWork<2>& work, int begin,
                                                int group) {
  constexpr int width = Shared::kWidth;
  const Shape& shape = in.shape;
  const int query = work.query_of(group), head = work.head_of(group), keys = keys_end(shape, work);
  Bounds bounds;
  float lse[2], delta[2];
  Packed<T, width> q;
  Packed<T> ds;
  const OwnQueries<width>& own = shared.own[copied.stage][group];
  shared.owned[group].wait_full(copied);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    bounds.begin[i] = own.first[fragment_row(i)];
    bounds.end[i] = query + fragment_row(i);
    lse[i] = own.lse[fragment_row(i)];
    delta[i] = own.delta[fragment_row(i)];
  }
  load_tile_rows(q, own.q);
  const auto dout = [&] {
    if constexpr (Shared::kOutputInRegisters) {
      Packed<T, width> rows;
      load_tile_rows(rows, own.dout);
      shared.owned[group].release_by_lanes(copied.stage);
      return rows;
    } else {
      return static_cast<const unsigned char*>(own.dout);
    }
  }();
  bounds.join();
  const float scale = shape.scale * kLog2e;
  WideFragment<width> dq = {};
  Fragment s, dp;
  int key = begin;
  const auto score = [&] {
    shared.pipeline.wait_full(walk);
    wgmma_fence();
    multiply_rows<T, width>(s, q, shared.stages[walk.stage].k);
    wgmma_commit();
    multiply_rows<T, width>(dp, dout, shared.stages[walk.stage].v);
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
  const int end = query < shape.T ? min(keys, query + kTokens) : 0;
  if (key < end) {
    score();
    wgmma_wait<1>();
    weigh();
    wgmma_wait<0>();
    differentiate(dp, s, delta);
    ds = packed<T>(dp);
    int before = walk.stage;
    key += kTokens;
    walk.next();
    for (; key < end; key += kTokens, walk.next()) {
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
      ds = packed<T>(dp);
    }
    wgmma_fence();
    add(before);
    wgmma_wait<0>();
    shared.pipeline.release(before);
  }
  if constexpr (!Shared::kOutputInRegisters) shared.owned[group].release_by_lanes(copied.stage);
  for (; key < keys; key += kTokens, walk.next()) {  // which only the other warpgroup's queries see
    shared.pipeline.wait_full(walk);
    shared.pipeline.release(walk.stage);
  }
  store_rows<T>(dq, shape.scale, [&](int i) {
    const int t = query + fragment_row(i);
    return t < shape.T ? dq_NHd + ((int64_t{work.row} * shape.T + t) * shape.H + head) * width : nullptr;
  });
}

template <class T, int width>
__global__ void __launch_bounds__(kBackwardThreads, 1)
    query_kernel(const __grid_constant__ CUtensorMap k, const __grid_constant__ CUtensorMap v,
                 const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap dout, T* dq_NHd,
                 BackwardInputs in) {
  using Shared = QueryShared<width>;
  Shared& shared = *dynamic_shared<Shared>();
  run_block(
      shared, 2 * kGroup / 32, [&] { copy_keys(shared, &k, &v, in); },
      [&] { copy_own(shared, &q, &dout, in); },
      [&](int group) {
        PipelineState<Shared::kStages> walk;
        PipelineState<Shared::kPieces> own;
        for (PipelineState<2> turn;; own.next()) {
          const QueryPiece drawn = shared.scheduler.read(turn);
          const int piece = same_in_warp(drawn.index), begin = same_in_warp(drawn.begin);
          if (piece >= query_blocks<2>(in.shape)) return;
          query_gradients(shared, walk, own, dq_NHd, in, query_work<2, width>(in.shape, piece), begin, group);
        }
      });
}

}  // namespace

void launch_query_gradients(cudaStream_t stream, int num_sms, const BackwardMaps& maps, AttentionBackward& op,
                            const BackwardInputs& in) {
  with_half_type(op.q_NHd.dtype(), [&]<class T>() {
    const auto run = [&]<int width>() {
      launch(stream, query_kernel<T, width>,
             {blocks(std::min(query_blocks<2>(in.shape), num_sms)), kBackwardThreads,
              sizeof(QueryShared<width>)},
             maps.k, maps.v, maps.q, maps.dout, pointer<T>(op.dq_NHd), in);
    };
    op.heads.dim == 64 ? run.template operator()<64>() : run.template operator()<128>();
  });
}

}  // namespace moe::gpu::sm90
