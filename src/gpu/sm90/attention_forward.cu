// SPDX-License-Identifier: MIT
// Attention forward on Hopper (Dao et al. 2022): a block a processor stays for the whole kernel. Four
// warpgroups, each with 64 queries of its own and going on to the next piece of work when it likes, so that
// one's exponentials are computed beside another's products; one warp copies the keys and values that all
// four read, another their queries and gates. Tiles of keys go from the diagonal backwards: the first of a
// warpgroup needs no look at the documents.
#include <algorithm>

#include "gpu/dynamic_shared.cuh"
#include "gpu/launch.h"
#include "gpu/sigmoid.cuh"
#include "gpu/sm90/attention.cuh"
#include "gpu/sm90/attention.h"
#include "gpu/sm90/attention_softmax.cuh"
#include "gpu/sm90/attention_work.cuh"
#include "gpu/sm90/half_type.cuh"
#include "gpu/sm90/tile_scheduler.cuh"
#include "ops/ops.h"

namespace moe::gpu {
namespace sm90 {
namespace {

inline constexpr int kForwardGroups = 4;
inline constexpr int kForwardThreads = (kForwardGroups + 1) * kGroup;
// Of a thread: as launched (of 65,536, in steps of 8), and then by role. A block has no more than it was
// launched with: one that asks for more waits for ever.
inline constexpr int kLaunched = 65536 / kForwardThreads / 8 * 8, kProducerRegisters = 32,
                     kConsumerRegisters = 112;
static_assert(kProducerRegisters + kForwardGroups * kConsumerRegisters <= (kForwardGroups + 1) * kLaunched);

struct ForwardPiece {
  int index, newest, oldest;  // of all pieces; the first keys of the first and last tile
};

// Of a warpgroup.
struct alignas(1024) RowStage {
  unsigned char q[2][kTileBytes], gate[kTileBytes];
};

struct ForwardShared {
  static constexpr int kStages = 8;
  KeyStage stages[kStages];
  RowStage rows[kForwardGroups];
  int first[kForwardGroups][kTokens];  // key that a query sees; kSeesNothing for padding
  Pipeline<kStages> pipeline;
  Pipeline<2> queries[kForwardGroups];
  Pipeline<1> gates[kForwardGroups];
  TileScheduler<ForwardPiece> scheduler;
};

// Where the results go.
template <class T>
struct Results {
  T* y_NHd;
  float* lse_NH;
  bool gated;
};

// The warp that copies keys and values; it also draws the work.
__device__ __forceinline__ void copy_keys(ForwardShared& shared, const CUtensorMap* k, const CUtensorMap* v,
                                          const Shape& shape, int* next) {
  PipelineState<ForwardShared::kStages> walk;
  PipelineState<2> turn;
  for (;;) {
    ForwardPiece piece{shared.scheduler.next_tile(next, turn), 0, 0};
    if (piece.index >= query_blocks<kForwardGroups>(shape)) return shared.scheduler.publish(turn, piece);
    const auto work = query_work<kForwardGroups>(shape, piece.index);
    const int token = work.row * shape.T, end = min(work.query + work.queries, shape.T);
    piece.newest = (end - 1) / kTokens * kTokens;
    piece.oldest =
        min(smallest_first(shape.first_BT + token, work.query, end), piece.newest) / kTokens * kTokens;
    shared.scheduler.publish(turn, piece);
    const int column = work.head / (shape.H / shape.G) * kWidth;
    for (int key = piece.newest; key >= piece.oldest; key -= kTokens, walk.next())
      copy_key_tile(shared, walk, k, v, column, token + key);
  }
}

// The warp that copies what each warpgroup reads once: its queries, then its gates. Rows past the end are
// copied as well (of the next row, or zeros) and not used.
__device__ __forceinline__ void copy_rows(ForwardShared& shared, const CUtensorMap* q,
                                          const CUtensorMap* gates, bool gated, const Shape& shape) {
  PipelineState<2> turn, queries;
  PipelineState<1> walk;
  for (;; walk.next(), queries.next()) {
    const ForwardPiece piece = shared.scheduler.read(turn);
    if (piece.index >= query_blocks<kForwardGroups>(shape)) return;
    const auto work = query_work<kForwardGroups>(shape, piece.index);
    const auto copy = [&](Barrier* full, unsigned char* to, const CUtensorMap* map, int group,
                          int heads_apart) {
      if (elect_one()) {
        barrier_arrive_expect(full, kTileBytes);
        tma_load(to, map, full, work.head_of(group) * heads_apart, work.row * shape.T + work.query_of(group));
      }
      __syncwarp();
    };
    for (int g = 0; g < kForwardGroups; ++g) {
      shared.queries[g].wait_empty(queries);
      copy(&shared.queries[g].full[queries.stage], shared.rows[g].q[queries.stage], q, g, kWidth);
    }
    if (!gated) continue;
    for (int g = 0; g < kForwardGroups; ++g) {
      shared.gates[g].wait_empty(walk);
      copy(&shared.gates[g].full[0], shared.rows[g].gate, gates, g, 2 * kWidth);
    }
  }
}

template <class T>
__device__ __forceinline__ void store_results(const Results<T>& to, const Fragment& o, const Softmax& softmax,
                                              const unsigned char* gates, const Shape& shape, int row,
                                              int query, int head) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    float sum = softmax.sum[i];
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    const int t = query + fragment_row(i);
    const int64_t at = (int64_t{row} * shape.T + t) * shape.H + head;
    const bool padding = softmax.first_T[fragment_row(i)] == kSeesNothing;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      auto piece = row_piece<T>(o, i, half, padding ? 0 : 1 / sum);
      if (t >= shape.T) continue;
      if (to.gated) {
        const auto gate =
            *reinterpret_cast<const Vec<T, 8>*>(gates + tile_offset(fragment_row(i), piece_column(half)));
#pragma unroll
        for (int c = 0; c < 8; ++c)
          piece.v[c] = from_float<T>(to_float(piece.v[c]) * sigmoid(to_float(gate.v[c])));
      }
      store(to.y_NHd + at * kWidth + piece_column(half), piece);
    }
    if (t < shape.T && fragment_column() == 0)
      to.lse_NH[at] = padding ? 0 : softmax.base[i] * kLn2 + logf(sum);
  }
}

// Counts the tiles of a block, in one register.
struct Tiles {
  unsigned number = 0;
  __device__ __forceinline__ PipelineState<ForwardShared::kStages> walk() const {
    return {stage(), number / ForwardShared::kStages % 2};
  }
  __device__ __forceinline__ int stage() const { return static_cast<int>(number % ForwardShared::kStages); }
  __device__ __forceinline__ int before() const {
    return static_cast<int>((number - 1) % ForwardShared::kStages);
  }
};

// The piece's tiles that this warpgroup's queries see, from `key` on, which is the first of them: the
// products of a tile's weights and values are under way while the next tile's scores become weights.
template <class T>
__device__ __forceinline__ void attend(ForwardShared& shared, Tiles& tiles, Fragment& o, Softmax& softmax,
                                       const unsigned char* q, int key, int oldest) {
  Packed<T> p;
  Fragment s;
  float shrink[2];
  const auto score = [&] {
    wgmma_fence();
    multiply_rows<T>(s, q, shared.stages[tiles.stage()].k);
    wgmma_commit();
  };
  const auto add = [&] {
    add_tokens(o, p, shared.stages[tiles.before()].v);
    wgmma_commit();
  };
  shared.pipeline.wait_full(tiles.walk());
  score();
  wgmma_wait<0>();
  softmax.update<true>(s, shrink, key);
  p = packed<T>(s);
  ++tiles.number;
  key -= kTokens;
  if (key >= oldest) shared.pipeline.wait_full(tiles.walk());
  while (key >= oldest) {
    score();
    add();
    wgmma_wait<1>();
    const bool shrinks = softmax.update<false>(s, shrink, key);
    compute_now(s);
    ++tiles.number;
    key -= kTokens;
    // Here and not before: ptxas moves a wait up to the last branch, and so would wait before the
    // exponentials.
    if (key >= oldest) shared.pipeline.wait_full(tiles.walk());
    wgmma_wait<0>();
    shared.pipeline.release(static_cast<int>((tiles.number - 2) % ForwardShared::kStages));
    if (shrinks) {
#pragma unroll
      for (int x = 0; x < 32; ++x) o[x] *= shrink[x / 2 % 2];
    }
    p = packed<T>(s);
  }
  wgmma_fence();
  add();
  wgmma_wait<0>();
  shared.pipeline.release(tiles.before());
}

// All that a warpgroup does.
template <class T>
__device__ __forceinline__ void attend_all(ForwardShared& shared, const Results<T>& results,
                                           const Shape& shape, int group) {
  Tiles tiles;
  PipelineState<1> gates;
  PipelineState<2> turn, queries;
  for (;; gates.next(), queries.next()) {
    ForwardPiece piece = shared.scheduler.read(turn);
    piece.index = same_in_warp(piece.index);
    piece.newest = same_in_warp(piece.newest);
    piece.oldest = same_in_warp(piece.oldest);
    if (piece.index >= query_blocks<kForwardGroups>(shape)) return;
    const auto work = query_work<kForwardGroups>(shape, piece.index);
    const int query = work.query_of(group), own = query < shape.T ? query : -1;
    int key = piece.newest;
    for (; key > own && key >= piece.oldest; key -= kTokens, ++tiles.number) {  // only for others
      shared.pipeline.wait_full(tiles.walk());
      shared.pipeline.release(tiles.stage());
    }
    Softmax softmax(shape, shared.first[group], work.row, query);
    shared.queries[group].wait_full(queries);
    Fragment o = {};
    if (key >= piece.oldest)
      attend<T>(shared, tiles, o, softmax, shared.rows[group].q[queries.stage], key, piece.oldest);
    shared.queries[group].release(queries.stage);
    if (results.gated) shared.gates[group].wait_full(gates);
    store_results(results, o, softmax, shared.rows[group].gate, shape, work.row, query, work.head_of(group));
    if (results.gated) shared.gates[group].release_by_lanes(0);
  }
}

template <class T>
__global__ void __launch_bounds__(kForwardThreads, 1)
    forward_kernel(const __grid_constant__ CUtensorMap k, const __grid_constant__ CUtensorMap v,
                   const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap gates,
                   Results<T> results, Shape shape, int* next) {
  ForwardShared& shared = *dynamic_shared<ForwardShared>();
  constexpr int kGroupWarps = kGroup / 32;
  if (threadIdx.x == 0) {
    shared.pipeline.init(kForwardGroups * kGroupWarps);
    for (int g = 0; g < kForwardGroups; ++g) {
      shared.queries[g].init(kGroupWarps);
      shared.gates[g].init(kGroup);
    }
    shared.scheduler.init(kForwardGroups * kGroupWarps + 1);
    fence_barriers();
  }
  __syncthreads();
  const int group = same_in_warp(static_cast<int>(threadIdx.x) / kGroup),
            warp = static_cast<int>(threadIdx.x) / 32;
  if (group == 0) {
    warpgroup_reg_dealloc<kProducerRegisters>();
    if (warp == 0) copy_keys(shared, &k, &v, shape, next);
    if (warp == 1) copy_rows(shared, &q, &gates, results.gated, shape);
    return;
  }
  warpgroup_reg_alloc<kConsumerRegisters>();
  attend_all(shared, results, shape, group - 1);
}

}  // namespace
}  // namespace sm90

bool sm90_takes_attention(const Tensor& q_NHd) {
  return is_half_type(q_NHd.dtype()) && q_NHd.dim(2) == sm90::kWidth && q_NHd.dim(0) > 0;
}

void sm90_attention_forward(cudaStream_t stream, int num_sms, int* next, const int32_t* first_BT,
                            AttentionForward op) {
  using namespace sm90;
  const int64_t H = op.q_NHd.dim(1), G = op.k_NGd.dim(1);
  const Heads& heads = op.heads;
  Shape shape = shape_of(op.doc_start_BT, H, G);
  shape.first_BT = first_BT;
  const CUtensorMap values = map_of_packed(op.packed_NP, heads.values(), G * kWidth);
  // From the first gate to the last. Without gates nothing is read, and the map has only to be one.
  const CUtensorMap gates =
      heads.gated ? map_of_packed(op.packed_NP, heads.gate(0), (2 * H - 1) * kWidth) : values;
  CUDA_CHECK(cudaMemsetAsync(next, 0, sizeof(int), stream));
  with_half_type(op.q_NHd.dtype(), [&]<class T>() {
    const Results<T> results{pointer<T>(op.y_NHd), pointer<float>(op.lse_NH), heads.gated};
    launch(stream, forward_kernel<T>,
           {blocks(std::min(query_blocks<kForwardGroups>(shape), num_sms)), kForwardThreads,
            sizeof(ForwardShared)},
           map_of_heads(op.k_NGd), values, map_of_heads(op.q_NHd), gates, results, shape, next);
  });
}

}  // namespace moe::gpu
