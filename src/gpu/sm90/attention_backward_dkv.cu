// SPDX-License-Identifier: MIT
// Gradients of keys and values on Hopper: a piece of work is 128 keys of one kv head, 64 a warpgroup, which
// loops over the queries that see them, of all heads that share them. With p^T = exp(k q^T - lse), ds^T = p^T
// (v do^T - delta):
//   dv = p^T do,  dk = scale * ds^T q.
// At width 64 k and v stay in registers as operands; at 128 the sums leave no room for them. While the
// exponentials of one tile are computed, the products of the other warpgroup are under way.
#include <algorithm>

#include "gpu/dynamic_shared.cuh"
#include "gpu/launch.h"
#include "gpu/sm90/attention_backward.cuh"
#include "gpu/sm90/attention_store.cuh"
#include "gpu/sm90/half_type.cuh"

namespace moe::gpu::sm90 {
namespace {

constexpr int kOwned = 2 * kTokens;  // keys of a piece: 64 of each warpgroup

// A tile of queries of one head.
template <int width>
struct alignas(1024) QueryStage {
  unsigned char q[kTileBytes<width>], dout[kTileBytes<width>];
  float lse[kTokens], delta[kTokens];  // lse to base 2, infinite for padding
};

// What a warpgroup reads once: its keys and values.
template <int width>
struct alignas(1024) OwnKeys {
  unsigned char k[kTileBytes<width>], v[kTileBytes<width>];
};

// A piece of work: keys of one row and kv head, and the queries of each head that see some of them: from the
// first key up to `end`, those of each warpgroup's keys up to its own_end.
struct KeyPiece {
  int index, end, own_end[2];
  int last[kOwned];  // query that sees a key; -1 for padding
};

template <int head_width>
struct KeyShared {
  static constexpr int kWidth = head_width;
  static constexpr int kStages = kWidth == 64 ? 6 : 4, kPieces = kWidth == 64 ? 2 : 1;
  QueryStage<kWidth> stages[kStages];
  OwnKeys<kWidth> own[kPieces][2];  // of so many pieces of work, of each warpgroup
  Pipeline<kStages> pipeline;
  Pipeline<kPieces> owned[2];
  TileScheduler<KeyPiece> scheduler;
};

__host__ __device__ inline int key_pieces(const Shape& shape) {
  return (shape.T + kOwned - 1) / kOwned * shape.B * shape.G;
}

struct KeyWork {
  int row, kv_head, key;
};
template <int width>
__device__ __forceinline__ KeyWork key_work(const Shape& shape, int index) {
  const int tiles = (shape.T + kOwned - 1) / kOwned, bytes = shape.T * (shape.H / shape.G) * 2 * width * 2;
  const Place at = place(index, shape.B * shape.G, tiles, units_at_once(bytes));
  // Most queries see the first keys, which come first.
  return {at.unit / shape.G, at.unit % shape.G, at.tile * kOwned};
}

// The last query that sees key t; -1 for padding.
__device__ __forceinline__ int last_query(const BackwardInputs& in, int row, int t) {
  if (t >= in.shape.T) return -1;
  const Statistics& statistics = in.statistics;
  const int document = statistics.document_BT[int64_t{row} * in.shape.T + t];
  if (document < 0) return -1;
  const int last = statistics.last_BT[statistics.at(row, 1, 0, document)];
  return last_seen(last + 1, t, statistics.window) - 1;
}

// Draws a piece, finds out what its readers must know and publishes it. All lanes of the producer warp;
// false: there is none.
template <class Shared>
__device__ __forceinline__ bool draw_keys(Shared& shared, const BackwardInputs& in, PipelineState<2>& turn,
                                          KeyWork& work, int& end) {
  const int index = shared.scheduler.next_tile(in.next, turn);
  KeyPiece& piece = shared.scheduler.drawn[turn.stage];
  const bool any = index < key_pieces(in.shape);
  int ends[2] = {0, 0};
  if (any) {
    work = key_work<Shared::kWidth>(in.shape, index);
#pragma unroll
    for (int i = 0; i < kOwned / 32; ++i) {
      const int line = 32 * i + static_cast<int>(threadIdx.x) % 32,
                last = last_query(in, work.row, work.key + line);
      piece.last[line] = last;
      ends[32 * i / kTokens] = max(ends[32 * i / kTokens], last + 1);
    }
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2)
      for (int& x : ends) x = max(x, __shfl_xor_sync(kAllLanes, x, lanes));
    end = max(work.key, max(ends[0], ends[1]));
    // A warpgroup holds a stage until its sums are done, and meanwhile skips the tiles that only the other's
    // keys see (one before its own, for each head, and all after them). If it skipped as many as there are
    // stages, the producer warp would wait for the held one, and it for the producer warp: beyond these it
    // computes them, with weights of 0.
    for (int g = 0; g < 2; ++g)
      if (ends[g] > work.key + g * kTokens) ends[g] = max(ends[g], end - (Shared::kStages - 3) * kTokens);
  }
  __syncwarp();
  if (threadIdx.x % 32 == 0) {
    piece.index = index;
    piece.end = end;
    piece.own_end[0] = ends[0], piece.own_end[1] = ends[1];
  }
  shared.scheduler.publish(turn);
  return any;
}

// The warp that copies queries.
template <class Shared>
__device__ __forceinline__ void copy_queries(Shared& shared, const CUtensorMap* q, const CUtensorMap* dout,
                                             const BackwardInputs& in) {
  constexpr int width = Shared::kWidth;
  const Shape& shape = in.shape;
  const int per_kv = shape.H / shape.G;
  PipelineState<Shared::kStages> walk;
  PipelineState<2> turn;
  KeyWork work{};
  int end = 0;
  while (draw_keys(shared, in, turn, work, end)) {
    for (int h = 0; h < per_kv; ++h) {
      const int head = work.kv_head * per_kv + h;
      for (int query = work.key; query < end; query += kTokens, walk.next()) {
        shared.pipeline.wait_empty(walk);
        if (elect_one()) {
          QueryStage<width>& stage = shared.stages[walk.stage];
          Barrier* const full = &shared.pipeline.full[walk.stage];
          const int64_t at = in.statistics.at(work.row, shape.H, head, query);
          barrier_arrive_expect(full, 2 * kTileBytes<width> + sizeof(stage.lse) + sizeof(stage.delta));
          load_tile<width>(stage.q, q, full, head * width, work.row * shape.T + query);
          load_tile<width>(stage.dout, dout, full, head * width, work.row * shape.T + query);
          bulk_load(stage.lse, in.statistics.lse_BHT + at, sizeof(stage.lse), full);
          bulk_load(stage.delta, in.statistics.delta_BHT + at, sizeof(stage.delta), full);
        }
        __syncwarp();
      }
    }
  }
}

// The warp that copies what each warpgroup reads once, a piece or two ahead. Rows past the end are copied as
// well (of the next row, or zeros) and not used.
template <class Shared>
__device__ __forceinline__ void copy_own(Shared& shared, const CUtensorMap* k, const CUtensorMap* v,
                                         const BackwardInputs& in) {
  constexpr int width = Shared::kWidth;
  const Shape& shape = in.shape;
  PipelineState<2> turn;
  PipelineState<Shared::kPieces> walk;
  for (;; walk.next()) {
    const int index = shared.scheduler.wait(turn).index;
    shared.scheduler.release(turn);
    if (index >= key_pieces(shape)) return;
    const KeyWork work = key_work<width>(shape, index);
    for (int g = 0; g < 2; ++g) {
      shared.owned[g].wait_empty(walk);
      if (elect_one()) {
        OwnKeys<width>& own = shared.own[walk.stage][g];
        Barrier* const full = &shared.owned[g].full[walk.stage];
        const int token = work.row * shape.T + work.key + g * kTokens;
        barrier_arrive_expect(full, sizeof(own));
        load_tile<width>(own.k, k, full, work.kv_head * width, token);
        load_tile<width>(own.v, v, full, work.kv_head * width, token);
      }
      __syncwarp();
    }
  }
}

// Scores (keys by queries) become weights.
template <class Stage>
__device__ __forceinline__ void weights_of(Fragment& s, const Stage& stage, float scale) {
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const auto lse = load<2>(stage.lse + 8 * j + fragment_column());
#pragma unroll
    for (int x = 0; x < 4; ++x) s[4 * j + x] = exp2_fast(s[4 * j + x] * scale - lse.v[x % 2]);
  }
}
// dp becomes ds.
template <class Stage>
__device__ __forceinline__ void differentiate(Fragment& dp, const Fragment& p, const Stage& stage) {
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const auto delta = load<2>(stage.delta + 8 * j + fragment_column());
#pragma unroll
    for (int x = 0; x < 4; ++x) dp[4 * j + x] = p[4 * j + x] * (dp[4 * j + x] - delta.v[x % 2]);
  }
}

// A warpgroup's way through the block's tiles (`all`); those that only the other warpgroup's keys see are
// given back.
template <class Shared>
struct QueryTiles {
  Shared& shared;
  PipelineState<Shared::kStages>& walk;
  int begin, end, own_begin, own_end;  // of the queries of each head
  int heads, query;

  // Waits for the next tile; false: there is none.
  __device__ __forceinline__ bool find() {
    for (;; advance()) {
      if (query >= end) {
        if (--heads <= 0 || begin >= end) return false;
        query = begin;
      }
      shared.pipeline.wait_full(walk);
      if (query >= own_begin && query < own_end) return true;
      shared.pipeline.release_by_lanes(walk.stage);
    }
  }
  __device__ __forceinline__ void advance() {
    query += kTokens;
    walk.next();
  }
  __device__ __forceinline__ const auto& stage() const { return shared.stages[walk.stage]; }
};

// What a warpgroup's loop works on.
template <class T, int width>
struct KeySums {
  WideFragment<width> dk = {}, dv = {};
  Packed<T> p, ds;

  __device__ __forceinline__ void add(const QueryStage<width>& stage) {
    add_tokens(dv, p, stage.dout);
    add_tokens(dk, ds, stage.q);
    wgmma_commit();
  }
};

// Scores of a tile become weights.
template <class Tiles>
__device__ __forceinline__ void weigh(Fragment& s, const Tiles& tiles, const Bounds& bounds, float scale) {
  weights_of(s, tiles.stage(), scale);
  if (!bounds.all_seen(tiles.query)) bounds.hide(s, tiles.query);
  compute_now(s);
}

// Sums over all tiles, with k and v in registers: the sums of a tile follow the scores of the next, and are
// under way while these become weights.
template <class T, int width, class Shared>
__device__ __forceinline__ void add_tiles(KeySums<T, width>& sums, QueryTiles<Shared>& tiles,
                                          const Packed<T, width>& k, const Packed<T, width>& v,
                                          const Bounds& bounds, float scale) {
  Shared& shared = tiles.shared;
  Fragment s, dp;
  const auto score = [&] {
    wgmma_fence();
    multiply_rows<T, width>(s, k, tiles.stage().q);
    wgmma_commit();
    multiply_rows<T, width>(dp, v, tiles.stage().dout);
    wgmma_commit();
  };
  if (!tiles.find()) return;
  score();
  wgmma_wait<1>();
  weigh(s, tiles, bounds, scale);
  wgmma_wait<0>();
  differentiate(dp, s, tiles.stage());
  sums.p = packed<T>(s);
  sums.ds = packed<T>(dp);
  int before = tiles.walk.stage;
  for (tiles.advance(); tiles.find(); tiles.advance()) {
    score();
    sums.add(shared.stages[before]);
    wgmma_wait<2>();
    weigh(s, tiles, bounds, scale);
    wgmma_wait<1>();
    differentiate(dp, s, tiles.stage());
    compute_now(dp);
    wgmma_wait<0>();
    shared.pipeline.release_by_lanes(before);
    before = tiles.walk.stage;
    sums.p = packed<T>(s);
    sums.ds = packed<T>(dp);
  }
  wgmma_fence();
  sums.add(shared.stages[before]);
  wgmma_wait<0>();
  shared.pipeline.release_by_lanes(before);
}

// The same with k and v in shared memory, where registers hold one tile's p and ds or scores and no more: the
// sums of a tile come before the scores of the next.
template <class T, int width, class Shared>
__device__ __forceinline__ void add_tiles(KeySums<T, width>& sums, QueryTiles<Shared>& tiles,
                                          const unsigned char* k, const unsigned char* v,
                                          const Bounds& bounds, float scale) {
  Shared& shared = tiles.shared;
  Fragment s, dp;
  const auto multiply = [](Fragment& out, const unsigned char* own, const unsigned char* tile) {
    wgmma_fence();
    multiply_rows<T, width>(out, own, tile);
    wgmma_commit();
  };
  if (!tiles.find()) return;
  multiply(s, k, tiles.stage().q);
  int stage;
  for (;;) {
    multiply(dp, v, tiles.stage().dout);
    wgmma_wait<1>();
    weigh(s, tiles, bounds, scale);
    wgmma_wait<0>();
    differentiate(dp, s, tiles.stage());
    sums.p = packed<T>(s);
    sums.ds = packed<T>(dp);
    stage = tiles.walk.stage;
    wgmma_fence();
    sums.add(shared.stages[stage]);
    tiles.advance();
    if (!tiles.find()) break;
    multiply(s, k, tiles.stage().q);
    wgmma_wait<1>();
    shared.pipeline.release_by_lanes(stage);
  }
  wgmma_wait<0>();
  shared.pipeline.release_by_lanes(stage);
}

// One piece of work of a warpgroup.
// dv_stride: elements from a token's dv to the next's.
template <class T, class Shared>
__device__ __forceinline__ void key_gradients(Shared& shared, PipelineState<Shared::kStages>& walk,
                                              PipelineState<2>& turn,
                                              const PipelineState<Shared::kPieces>& copied, T* dk_NGd,
                                              T* dv_to, int dv_stride, const BackwardInputs& in,
                                              const KeyWork& work, int group) {
  constexpr int width = Shared::kWidth;
  const Shape& shape = in.shape;
  const int first_key = work.key + group * kTokens;
  Bounds bounds;
  const KeyPiece& piece = shared.scheduler.wait(turn);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    bounds.begin[i] = first_key + fragment_row(i);
    bounds.end[i] = piece.last[group * kTokens + fragment_row(i)];
  }
  QueryTiles<Shared> tiles{shared,
                           walk,
                           work.key,
                           same_in_warp(piece.end),
                           first_key,
                           same_in_warp(piece.own_end[group]),
                           shape.H / shape.G,
                           work.key};
  shared.scheduler.release(turn);
  bounds.join();
  shared.owned[group].wait_full(copied);
  const float scale = shape.scale * kLog2e;
  const OwnKeys<width>& own = shared.own[copied.stage][group];
  KeySums<T, width> sums;
  if constexpr (width == 64) {
    Packed<T, width> k, v;
    load_tile_rows(k, own.k);
    load_tile_rows(v, own.v);
    shared.owned[group].release_by_lanes(copied.stage);
    add_tiles<T, width>(sums, tiles, k, v, bounds, scale);
  } else {
    add_tiles<T, width>(sums, tiles, own.k, own.v, bounds, scale);
    shared.owned[group].release_by_lanes(copied.stage);
  }
  const int64_t token = int64_t{work.row} * shape.T + first_key;
  const auto row = [&](T* first, int64_t stride, int i) {
    const bool inside = first_key + fragment_row(i) < shape.T;
    return inside ? first + (token + fragment_row(i)) * stride + work.kv_head * width : nullptr;
  };
  store_rows<T>(sums.dk, shape.scale, [&](int i) { return row(dk_NGd, int64_t{shape.G} * width, i); });
  store_rows<T>(sums.dv, 1, [&](int i) { return row(dv_to, dv_stride, i); });
}

template <class T, int width>
__global__ void __launch_bounds__(kBackwardThreads, 1)
    key_kernel(const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap dout,
               const __grid_constant__ CUtensorMap k, const __grid_constant__ CUtensorMap v, T* dk_NGd,
               T* dv_to, int dv_stride, BackwardInputs in) {
  using Shared = KeyShared<width>;
  Shared& shared = *dynamic_shared<Shared>();
  run_block(
      shared, 2 * kGroup, [&] { copy_queries(shared, &q, &dout, in); }, [&] { copy_own(shared, &k, &v, in); },
      [&](int group) {
        PipelineState<Shared::kStages> walk;
        PipelineState<Shared::kPieces> own;
        for (PipelineState<2> turn;; own.next()) {
          const int index = same_in_warp(shared.scheduler.wait(turn).index);
          if (index >= key_pieces(in.shape)) return;
          key_gradients(shared, walk, turn, own, dk_NGd, dv_to, dv_stride, in,
                        key_work<width>(in.shape, index), group);
        }
      });
}

}  // namespace

void launch_key_gradients(cudaStream_t stream, int num_sms, const BackwardMaps& maps, AttentionBackward& op,
                          const BackwardInputs& in) {
  with_half_type(op.q_NHd.dtype(), [&]<class T>() {
    const auto run = [&]<int width>() {
      launch(stream, key_kernel<T, width>,
             {blocks(std::min(key_pieces(in.shape), num_sms)), kBackwardThreads, sizeof(KeyShared<width>)},
             maps.q, maps.dout, maps.k, maps.v, pointer<T>(op.dk_NGd),
             pointer<T>(op.dpacked_NP) + op.heads.values(), static_cast<int>(op.heads.packed()), in);
    };
    op.heads.dim == 64 ? run.template operator()<64>() : run.template operator()<128>();
  });
}

}  // namespace moe::gpu::sm90
