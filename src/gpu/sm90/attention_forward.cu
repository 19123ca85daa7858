// SPDX-License-Identifier: MIT
// Attention forward on Hopper (Dao et al. 2022): a block a processor stays for the whole kernel. Some
// warpgroups, each with 64 queries of its own and going on to the next piece of work when it likes, so that
// one's exponentials are computed beside another's products; one warp copies the keys and values that all
// read, another their queries and gates. Tiles of keys go from the diagonal backwards: the first of a
// warpgroup needs no look at the documents.
#include <algorithm>

#include "gpu/dynamic_shared.cuh"
#include "gpu/launch.h"
#include "gpu/sigmoid.cuh"
#include "gpu/sm90/attention.cuh"
#include "gpu/sm90/attention.h"
#include "gpu/sm90/attention_softmax.cuh"
#include "gpu/sm90/attention_store.cuh"
#include "gpu/sm90/attention_work.cuh"
#include "gpu/sm90/half_type.cuh"
#include "gpu/sm90/tile_scheduler.cuh"
#include "ops/ops.h"

namespace moe::gpu {
namespace sm90 {
namespace {

// What registers and shared memory have room for, by the head's width.
template <int width>
struct ForwardPlan;
template <>
struct ForwardPlan<64> {
  static constexpr int kGroups = 4, kProducerRegisters = 32, kConsumerRegisters = 112;
  static constexpr int kStages = 8, kQueryStages = 2;
};
template <>
struct ForwardPlan<128> {
  static constexpr int kGroups = 3, kProducerRegisters = 32, kConsumerRegisters = 160;
  static constexpr int kStages = 4, kQueryStages = 1;
};

struct ForwardPiece {
  int index, newest, oldest;  // of all pieces; the first keys of the first and last tile
};

template <int head_width>
struct ForwardShared {
  using Plan = ForwardPlan<head_width>;
  static constexpr int kWidth = head_width, kGroups = Plan::kGroups, kThreads = (kGroups + 1) * kGroup;
  static constexpr int kStages = Plan::kStages, kQueryStages = Plan::kQueryStages;
  // Of a thread: as launched (of 65,536, in steps of 8), and then by role. A block has no more than it was
  // launched with: one that asks for more waits for ever.
  static constexpr int kLaunched = 65536 / kThreads / 8 * 8;
  static_assert(Plan::kProducerRegisters + kGroups * Plan::kConsumerRegisters <= (kGroups + 1) * kLaunched);

  // Of a warpgroup.
  struct alignas(1024) Rows {
    unsigned char q[kQueryStages][kTileBytes<kWidth>], gate[kTileBytes<kWidth>];
  };

  KeyStage<kWidth> stages[kStages];
  Rows rows[kGroups];
  int first[kGroups][kTokens];  // key that a query sees; kSeesNothing for padding
  Pipeline<kStages> pipeline;
  Pipeline<kQueryStages> queries[kGroups];
  Pipeline<1> gates[kGroups];
  TileScheduler<ForwardPiece> scheduler;

  // One thread.
  __device__ __forceinline__ void init() {
    constexpr int warps = kGroup / 32;
    pipeline.init(kGroups * warps);
    for (int g = 0; g < kGroups; ++g) {
      queries[g].init(warps);
      gates[g].init(kGroup);
    }
    scheduler.init(kGroups * warps + 1);
    fence_barriers();
  }
};

// Where the results go.
template <class T>
struct Results {
  T* y_NHd;
  float* lse_NH;
  bool gated;
};

// The warp that copies keys and values; it also draws the work.
template <class Shared>
__device__ __forceinline__ void copy_keys(Shared& shared, const CUtensorMap* k, const CUtensorMap* v,
                                          const Shape& shape, int* next) {
  constexpr int groups = Shared::kGroups, width = Shared::kWidth;
  PipelineState<Shared::kStages> walk;
  PipelineState<2> turn;
  for (;;) {
    ForwardPiece piece{shared.scheduler.next_tile(next, turn), 0, 0};
    if (piece.index >= query_blocks<groups>(shape)) return shared.scheduler.publish(turn, piece);
    const auto work = query_work<groups, width>(shape, piece.index);
    const int token = work.row * shape.T, end = min(work.query + work.queries, shape.T);
    piece.newest = (end - 1) / kTokens * kTokens;
    piece.oldest =
        min(smallest_first(shape.first_BT + token, work.query, end), piece.newest) / kTokens * kTokens;
    shared.scheduler.publish(turn, piece);
    const int column = work.head / (shape.H / shape.G) * width;
    for (int key = piece.newest; key >= piece.oldest; key -= kTokens, walk.next())
      copy_key_tile<width>(shared, walk, k, v, column, token + key);
  }
}

// The warp that copies what each warpgroup reads once: its queries, then its gates. Rows past the end are
// copied as well (of the next row, or zeros) and not used.
template <class Shared>
__device__ __forceinline__ void copy_rows(Shared& shared, const CUtensorMap* q, const CUtensorMap* gates,
                                          bool gated, const Shape& shape) {
  constexpr int groups = Shared::kGroups, width = Shared::kWidth;
  PipelineState<2> turn;
  PipelineState<Shared::kQueryStages> queries;
  PipelineState<1> walk;
  for (;; walk.next(), queries.next()) {
    const ForwardPiece piece = shared.scheduler.read(turn);
    if (piece.index >= query_blocks<groups>(shape)) return;
    const auto work = query_work<groups, width>(shape, piece.index);
    const auto copy = [&](Barrier* full, unsigned char* to, const CUtensorMap* map, int group,
                          int heads_apart) {
      if (elect_one()) {
        barrier_arrive_expect(full, kTileBytes<width>);
        load_tile<width>(to, map, full, work.head_of(group) * heads_apart,
                         work.row * shape.T + work.query_of(group));
      }
      __syncwarp();
    };
    for (int g = 0; g < groups; ++g) {
      shared.queries[g].wait_empty(queries);
      copy(&shared.queries[g].full[queries.stage], shared.rows[g].q[queries.stage], q, g, width);
    }
    if (!gated) continue;
    for (int g = 0; g < groups; ++g) {
      shared.gates[g].wait_empty(walk);
      copy(&shared.gates[g].full[0], shared.rows[g].gate, gates, g, 2 * width);
    }
  }
}

template <class T, size_t boxes>
__device__ __forceinline__ void store_results(const Results<T>& to, const Fragment (&o)[boxes],
                                              const Softmax& softmax, const unsigned char* gates,
                                              const Shape& shape, int row, int query, int head) {
  constexpr int parts = 2 * static_cast<int>(boxes);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    float sum = softmax.sum[i];
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    const int t = query + fragment_row(i);
    const int64_t at = (int64_t{row} * shape.T + t) * shape.H + head;
    const bool padding = softmax.first_T[fragment_row(i)] == kSeesNothing;
#pragma unroll
    for (int part = 0; part < parts; ++part) {
      const int box = part / 2, column = piece_column(part % 2);
      auto piece = row_piece<T>(o[box], i, part % 2, padding ? 0 : 1 / sum);
      if (t >= shape.T) continue;
      if (to.gated) {
        const auto gate = *reinterpret_cast<const Vec<T, 8>*>(gates + box * kBoxBytes +
                                                              tile_offset(fragment_row(i), column));
#pragma unroll
        for (int c = 0; c < 8; ++c)
          piece.v[c] = from_float<T>(to_float(piece.v[c]) * sigmoid(to_float(gate.v[c])));
      }
      store(to.y_NHd + at * (parts / 2 * kLine) + box * kLine + column, piece);
    }
    if (t < shape.T && fragment_column() == 0)
      to.lse_NH[at] = padding ? 0 : softmax.base[i] * kLn2 + logf(sum);
  }
}

// Counts the tiles of a block, in one register.
template <int stages>
struct Tiles {
  unsigned number = 0;
  __device__ __forceinline__ PipelineState<stages> walk() const {
    return {stage(), number / unsigned{stages} % 2};
  }
  __device__ __forceinline__ int stage() const { return before(0); }
  __device__ __forceinline__ int before(unsigned tiles) const {
    return static_cast<int>((number - tiles) % unsigned{stages});
  }
};

// The piece's tiles that this warpgroup's queries see, from `key` on, which is the first of them: the
// products of a tile's weights and values are under way while the next tile's scores become weights.
template <class T, class Shared>
__device__ __forceinline__ void attend(Shared& shared, Tiles<Shared::kStages>& tiles,
                                       WideFragment<Shared::kWidth>& o, Softmax& softmax,
                                       const unsigned char* q, int key, int oldest) {
  Packed<T> p;
  Fragment s;
  float shrink[2];
  const auto score = [&] {
    wgmma_fence();
    multiply_rows<T, Shared::kWidth>(s, q, shared.stages[tiles.stage()].k);
    wgmma_commit();
  };
  const auto add = [&] {
    add_tokens(o, p, shared.stages[tiles.before(1)].v);
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
    shared.pipeline.release(tiles.before(2));
    if (shrinks) {
#pragma unroll
      for (Fragment& box : o)
#pragma unroll
        for (int x = 0; x < 32; ++x) box[x] *= shrink[x / 2 % 2];
    }
    p = packed<T>(s);
  }
  wgmma_fence();
  add();
  wgmma_wait<0>();
  shared.pipeline.release(tiles.before(1));
}

// All that a warpgroup does.
template <class T, class Shared>
__device__ __forceinline__ void attend_all(Shared& shared, const Results<T>& results, const Shape& shape,
                                           int group) {
  constexpr int groups = Shared::kGroups, width = Shared::kWidth;
  Tiles<Shared::kStages> tiles;
  PipelineState<1> gates;
  PipelineState<Shared::kQueryStages> queries;
  PipelineState<2> turn;
  for (;; gates.next(), queries.next()) {
    ForwardPiece piece = shared.scheduler.read(turn);
    piece.index = same_in_warp(piece.index);
    piece.newest = same_in_warp(piece.newest);
    piece.oldest = same_in_warp(piece.oldest);
    if (piece.index >= query_blocks<groups>(shape)) return;
    const auto work = query_work<groups, width>(shape, piece.index);
    const int query = work.query_of(group), own = query < shape.T ? query : -1;
    int key = piece.newest;
    for (; key > own && key >= piece.oldest; key -= kTokens, ++tiles.number) {  // only for others
      shared.pipeline.wait_full(tiles.walk());
      shared.pipeline.release(tiles.stage());
    }
    Softmax softmax(shape, shared.first[group], work.row, query);
    shared.queries[group].wait_full(queries);
    WideFragment<width> o = {};
    if (key >= piece.oldest)
      attend<T>(shared, tiles, o, softmax, shared.rows[group].q[queries.stage], key, piece.oldest);
    shared.queries[group].release(queries.stage);
    if (results.gated) shared.gates[group].wait_full(gates);
    store_results(results, o, softmax, shared.rows[group].gate, shape, work.row, query, work.head_of(group));
    if (results.gated) shared.gates[group].release_by_lanes(0);
  }
}

template <class T, int width>
__global__ void __launch_bounds__(ForwardShared<width>::kThreads, 1)
    forward_kernel(const __grid_constant__ CUtensorMap k, const __grid_constant__ CUtensorMap v,
                   const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap gates,
                   Results<T> results, Shape shape, int* next) {
  using Plan = ForwardPlan<width>;
  ForwardShared<width>& shared = *dynamic_shared<ForwardShared<width>>();
  if (threadIdx.x == 0) shared.init();
  __syncthreads();
  const int group = same_in_warp(static_cast<int>(threadIdx.x) / kGroup),
            warp = static_cast<int>(threadIdx.x) / 32;
  if (group == 0) {
    warpgroup_reg_dealloc<Plan::kProducerRegisters>();
    if (warp == 0) copy_keys(shared, &k, &v, shape, next);
    if (warp == 1) copy_rows(shared, &q, &gates, results.gated, shape);
    return;
  }
  warpgroup_reg_alloc<Plan::kConsumerRegisters>();
  attend_all(shared, results, shape, group - 1);
}

}  // namespace
}  // namespace sm90

bool sm90_takes_attention(const Tensor& q_NHd) {
  const int64_t width = q_NHd.dim(2);
  return is_half_type(q_NHd.dtype()) && (width == 64 || width == 128) && q_NHd.dim(0) > 0;
}

void sm90_attention_forward(cudaStream_t stream, int num_sms, int* next, const int32_t* first_BT,
                            AttentionForward op) {
  using namespace sm90;
  const Heads& heads = op.heads;
  Shape shape = shape_of(op.doc_start_BT, heads);
  shape.first_BT = first_BT;
  const CUtensorMap values = map_of_packed(op.packed_NP, heads.values(), heads.kv * heads.dim);
  // From the first gate to the last. Without gates nothing is read, and the map has only to be one.
  const CUtensorMap gates =
      heads.gated ? map_of_packed(op.packed_NP, heads.gate(0), (2 * heads.query - 1) * heads.dim) : values;
  CUDA_CHECK(cudaMemsetAsync(next, 0, sizeof(int), stream));
  with_half_type(op.q_NHd.dtype(), [&]<class T>() {
    const Results<T> results{pointer<T>(op.y_NHd), pointer<float>(op.lse_NH), heads.gated};
    const auto run = [&]<int width>() {
      using Shared = ForwardShared<width>;
      launch(
          stream, forward_kernel<T, width>,
          {blocks(std::min(query_blocks<Shared::kGroups>(shape), num_sms)), Shared::kThreads, sizeof(Shared)},
          map_of_heads(op.k_NGd), values, map_of_heads(op.q_NHd), gates, results, shape, next);
    };
    heads.dim == 64 ? run.template operator()<64>() : run.template operator()<128>();
  });
}

}  // namespace moe::gpu
