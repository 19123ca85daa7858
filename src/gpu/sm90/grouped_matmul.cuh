// SPDX-License-Identifier: MIT
// The kernel of all grouped products on Hopper, of operands of T (bf16, f16 or FP8), persistent: each block
// computes tiles of 128 x kN in turn. One warpgroup keeps copies under way, some pieces of 64 along the inner
// dimension ahead; two multiply and hand their sums to an epilogue while the copies for the next tile are
// under way (Schedule). Barriers in shared memory hand the stages back and forth. An operand comes by TMA or,
// where its rows are those of tokens, row by row (gather.cuh).
//
// Tiles need no padding: one that runs past its expert's rows or columns multiplies its neighbour's too and
// the epilogue leaves them out. Only where the inner dimension is the expert's rows (TN) must foreign lines
// be cleared before they count.
#pragma once

#include <algorithm>
#include <utility>

#include "gpu/dynamic_shared.cuh"
#include "gpu/expert_tiles.cuh"
#include "gpu/launch.h"
#include "gpu/sm90/gather.cuh"
#include "gpu/sm90/grouped_matmul.h"
#include "gpu/sm90/grouped_store.cuh"
#include "gpu/sm90/grouped_tile.cuh"
#include "gpu/sm90/pipeline.cuh"
#include "gpu/sm90/sm90.cuh"
#include "gpu/sm90/wgmma.cuh"
#include "gpu/tensor_map.h"

namespace moe::gpu::grouped {

// Of each operand's 64 inner indices; as many as fit.
template <int kN>
inline constexpr int kStages = kN == 256 ? 4 : 6;

// Two warpgroups that multiply tiles in turns: one begins when the other has seen all stages of the tile
// before. Without this the one that waits would take an earlier phase of its stage for its own, since
// barriers know phases by parity only.
struct OrderedBarrier {
  Barrier begin[2];

  __device__ __forceinline__ void init() {
    for (Barrier& barrier : begin) barrier_init(&barrier, kGroup / 32);
  }
  // round: of this warpgroup's tiles. The first warpgroup's first tile waits for nobody.
  __device__ __forceinline__ void wait(int group, int round) {
    barrier_wait(&begin[group], static_cast<uint32_t>(round + 1 + group) % 2);
  }
  __device__ __forceinline__ void pass(int group) {
    __syncwarp();
    if (threadIdx.x % 32 == 0) barrier_arrive(&begin[group ^ 1]);
  }
};

// staging: bytes that the epilogue wants for itself.
template <MatmulLayout layout, int kN, int staging>
struct Shared {
  Stage<kN> stages[kStages<kN>];
  alignas(1024) unsigned char staging_bytes[staging > 0 ? staging : 16];
  Pipeline<kStages<kN>> pipeline;
  OrderedBarrier ordered_barrier;
  Experts<layout != MatmulLayout::TN> experts;
};
template <MatmulLayout layout, int kN, class Epilogue>
using SharedOf = Shared<layout, kN, Epilogue::kStaging>;

// The operands of a stage that TMA brings. kHalves: B's columns are two runs, half of its columns apart.
template <MatmulLayout layout, int kN, Gathered gathered, bool kHalves>
__device__ __forceinline__ void copy_stage(Stage<kN>& stage, Barrier* full, const CUtensorMap* a_map,
                                           const CUtensorMap* b_map, const Product& p, const Tile& tile,
                                           int k) {
  constexpr uint32_t a_bytes = gathered == Gathered::a ? 0 : sizeof(stage.a);
  constexpr uint32_t b_bytes = gathered == Gathered::b ? 0 : sizeof(stage.b);
  barrier_arrive_expect(full, a_bytes + b_bytes);
  if constexpr (a_bytes > 0 && layout == MatmulLayout::TN)
    for (int i = 0; i < kM / kLine; ++i)
      tma_load(stage.a + i * kBox, a_map, full, tile.a_column + i * kLine, tile.a_row + k);
  else if constexpr (a_bytes > 0)
    tma_load(stage.a, a_map, full, k, tile.a_row);
  if constexpr (b_bytes > 0 && layout == MatmulLayout::NT) {
    tma_load(stage.b, b_map, full, k, tile.b_row + tile.column);
    if (kHalves) tma_load(stage.b + sizeof(stage.b) / 2, b_map, full, k, tile.b_row + p.n / 2 + tile.column);
  } else if constexpr (b_bytes > 0) {
    for (int i = 0; i < kN / kLine; ++i)
      tma_load(stage.b + i * kBox, b_map, full, tile.column + i * kLine, tile.b_row + k);
  }
}

// The copying side: one warp, or the whole warpgroup where rows are gathered.
template <MatmulLayout layout, int kN, Gathered gathered, class Epilogue>
__device__ __forceinline__ void copy_tiles(SharedOf<layout, kN, Epilogue>& shared, const CUtensorMap* a_map,
                                           const CUtensorMap* b_map, const Product& p,
                                           const Epilogue& epilogue) {
  constexpr bool kHalves = Epilogue::kHalves;
  Tiles<layout, kHalves ? kN / 2 : kN> tiles(p, shared.experts, kHalves);
  PipelineState<kStages<kN>> walk;
  for (Tile tile; tiles.next(tile);) {
    TokenRows<layout, gathered, kM, kN> rows(p, tile);
    for (int k = 0; k < tile.inner; k += kLine, walk.next()) {
      Stage<kN>& stage = shared.stages[walk.stage];
      rows.find(p, tile, k);
      shared.pipeline.wait_empty(walk);
      if (threadIdx.x < 32 && elect_one())
        copy_stage<layout, kN, gathered, kHalves>(stage, &shared.pipeline.full[walk.stage], a_map, b_map, p,
                                                  tile, k);
      __syncwarp();
      if constexpr (gathered != Gathered::none) {
        rows.copy(gathered == Gathered::a ? stage.a : stage.b, p, tile, k);
        barrier_arrive_after_copies(&shared.pipeline.full[walk.stage]);
      }
    }
    for (int piece = 0; piece < Epilogue::kPieces; ++piece, walk.next()) {
      shared.pipeline.wait_empty(walk);
      if constexpr (Epilogue::kPieces > 0)
        if (threadIdx.x < 32 && elect_one())
          epilogue.copy_piece(shared.stages[walk.stage], &shared.pipeline.full[walk.stage], tile, piece);
      __syncwarp();
      if constexpr (gathered != Gathered::none) barrier_arrive(&shared.pipeline.full[walk.stage]);
    }
  }
}

// Clears the lines of both operands from `lines` on, so that rows of the next expert count as zero; a
// gathered operand has zeros there already. By the threads that multiply the stage.
template <int kN, Schedule schedule, Gathered gathered>
__device__ __forceinline__ void clear_lines(Stage<kN>& stage, int lines, int group) {
  constexpr int a_boxes = kM / kLine, first = gathered == Gathered::a ? a_boxes : 0;
  constexpr int boxes = (gathered == Gathered::b ? a_boxes : a_boxes + kN / kLine) - first;
  constexpr int chunks = 128 / sizeof(uint4), threads = schedule == Schedule::pingpong ? kGroup : 2 * kGroup;
  auto* const memory = reinterpret_cast<uint4*>(stage.a);
  const int thread = (static_cast<int>(threadIdx.x) - kGroup) % threads, left = kLine - lines;
  for (int i = thread; i < boxes * left * chunks; i += threads) {
    const int box = first + i / (left * chunks), within = i % (left * chunks);
    memory[(box * kLine + lines) * chunks + within] = make_uint4(0, 0, 0, 0);
  }
  fence_async_proxy();
  named_barrier(schedule == Schedule::pingpong ? 1 + group : 1, threads);
}

// sum[i] += the products of the stage for the 64 rows `first_half` + i.
template <class T, MatmulLayout layout, int kN, int halves>
__device__ __forceinline__ void multiply_stage(float (&sum)[halves][kN / 2], const Stage<kN>& stage,
                                               int first_half, bool first) {
  wgmma_fence();
#pragma unroll
  for (int k16 = 0; k16 < kLine / 16; ++k16) {
    const uint64_t b_piece =
        layout == MatmulLayout::NT ? rows_descriptor(stage.b, k16) : columns_descriptor(stage.b, k16, kBox);
#pragma unroll
    for (int i = 0; i < halves; ++i) {
      const unsigned char* const a = stage.a + (first_half + i) * kBox;
      const uint64_t a_piece =
          layout == MatmulLayout::TN ? columns_descriptor(a, k16, kBox) : rows_descriptor(a, k16);
      wgmma<T, layout == MatmulLayout::TN, layout != MatmulLayout::NT>(sum[i], a_piece, b_piece,
                                                                       !first || k16 > 0);
    }
  }
  wgmma_commit();
}

// What an epilogue is: begin(tile, half) before the products, whose Rows it gets back; store(sums, rows,
// tile, half, staging) of 64 rows after them, with kStaging bytes of shared memory for all of the block's
// warps; or, where kPieces is not 0, copy_piece() into so many stages of the pipeline and store_piece() from
// each; finish() after the last tile. kHalves: half of a tile's columns are of either half of c. kBeginsLate:
// begin() waits for memory, so it is called while the first stage is being multiplied.
//
// Where an epilogue reads stages of its own after those of the products, and lets TMA write from them: a warp
// is done with a stage when its part has been read.
template <MatmulLayout layout, int kN, class Epilogue>
__device__ __forceinline__ void store_pieces(SharedOf<layout, kN, Epilogue>& shared,
                                             PipelineState<kStages<kN>>& walk, const Epilogue& epilogue,
                                             const float (&sum)[kN / 2], typename Epilogue::Rows& rows,
                                             const Tile& tile, int half) {
  int before = -1;
  const auto store = [&]<int piece>() {
    shared.pipeline.wait_full(walk);
    epilogue.template store_piece<piece>(sum, rows, shared.stages[walk.stage], tile, half);
    tma_store_wait_read<1>();
    if (before >= 0) shared.pipeline.release(before);
    before = walk.stage;
    walk.next();
  };
  [&]<int... piece>(std::integer_sequence<int, piece...>) {
    (store.template operator()<piece>(), ...);
  }
  (std::make_integer_sequence<int, Epilogue::kPieces>());
  tma_store_wait_read<0>();
  shared.pipeline.release(before);
}

template <class T, MatmulLayout layout, int kN, Schedule schedule, Gathered gathered, class Epilogue>
__device__ __forceinline__ void multiply_tiles(SharedOf<layout, kN, Epilogue>& shared, const Product& p,
                                               const Epilogue& epilogue, int group) {
  constexpr bool pingpong = schedule == Schedule::pingpong;
  static_assert(!pingpong || Epilogue::kPieces == 0,
                "the other warpgroup would wait for what is read after the products");
  constexpr int halves = pingpong ? 2 : 1;
  const int first_half = pingpong ? 0 : group;
  float sum[halves][kN / 2];
  Tiles<layout, Epilogue::kHalves ? kN / 2 : kN> tiles(p, shared.experts, Epilogue::kHalves);
  PipelineState<kStages<kN>> walk;
  int turn = 0;  // of both warpgroups
  for (Tile tile; tiles.next(tile); ++turn) {
    if (pingpong && turn % 2 != group) {
      walk.skip((tile.inner + kLine - 1) / kLine);
      continue;
    }
    if constexpr (pingpong) shared.ordered_barrier.wait(group, turn / 2);
    if constexpr (layout == MatmulLayout::TN) {
      if (tile.inner == 0) {  // an expert without rows
        if constexpr (pingpong) shared.ordered_barrier.pass(group);
        for (int i = 0; i < halves; ++i) epilogue.store_empty(tile, first_half + i, shared.staging_bytes);
        continue;
      }
    }
    // None of the tile's rows are this warpgroup's: the other has the matrix units to itself.
    if (!pingpong && layout != MatmulLayout::TN && same_in_warp(tile.rows <= first_half * 64)) {
      const int stages = (tile.inner + kLine - 1) / kLine + Epilogue::kPieces;
      for (int i = 0; i < stages; ++i, walk.next()) {
        shared.pipeline.wait_full(walk);
        shared.pipeline.release(walk.stage);
      }
      continue;
    }
    typename Epilogue::Rows rows[halves] = {};
    const auto begin = [&] {
#pragma unroll
      for (int i = 0; i < halves; ++i) rows[i] = epilogue.begin(tile, first_half + i);
    };
    if constexpr (!Epilogue::kBeginsLate) begin();
    int before = -1;  // the stage that may still be read
    for (int k = 0; k < tile.inner; k += kLine, walk.next()) {
      Stage<kN>& stage = shared.stages[walk.stage];
      shared.pipeline.wait_full(walk);
      if constexpr (gathered != Gathered::none) fence_async_proxy();  // they came as ordinary writes
      if (layout == MatmulLayout::TN && tile.inner - k < kLine)
        clear_lines<kN, schedule, gathered>(stage, tile.inner - k, group);
      multiply_stage<T, layout, kN>(sum, stage, first_half, k == 0);
      if (Epilogue::kBeginsLate && k == 0) begin();
      wgmma_wait<1>();
      if (before >= 0) shared.pipeline.release(before);
      before = walk.stage;
    }
    if constexpr (pingpong) shared.ordered_barrier.pass(group);
    wgmma_wait<0>();
    shared.pipeline.release(before);
    if constexpr (Epilogue::kPieces > 0) {
      store_pieces<layout, kN>(shared, walk, epilogue, sum[0], rows[0], tile, first_half);
    } else {
#pragma unroll
      for (int i = 0; i < halves; ++i)
        epilogue.store(sum[i], rows[i], tile, first_half + i, shared.staging_bytes);
    }
  }
  epilogue.finish();
}

// Registers of a thread that copies and of one that multiplies. A block begins with 168 a thread, the most
// that its 384 can have: who asks for more than the others gave back waits for ever.
template <Gathered gathered>
inline constexpr int kProducerRegisters = gathered == Gathered::none ? 40 : 56;
template <Gathered gathered>
inline constexpr int kConsumerRegisters = (3 * 168 - kProducerRegisters<gathered>) / 2;

template <class T, MatmulLayout layout, int kN, Schedule schedule, Gathered gathered, class Epilogue>
__global__ void __launch_bounds__(3 * kGroup, 1)
    kernel(const __grid_constant__ CUtensorMap a_map, const __grid_constant__ CUtensorMap b_map, Product p,
           const __grid_constant__ Epilogue epilogue) {
  auto& shared = *dynamic_shared<SharedOf<layout, kN, Epilogue>>();
  if (threadIdx.x < 32) shared.experts.read(p);
  if (threadIdx.x == 0) {
    shared.pipeline.init((schedule == Schedule::pingpong ? 1 : 2) * kGroup / 32,
                         gathered == Gathered::none ? 1 : kGroup + 1);
    shared.ordered_barrier.init();
    fence_barriers();
  }
  __syncthreads();
  const int group = same_in_warp(static_cast<int>(threadIdx.x) / kGroup);
  if (group == 0) {
    warpgroup_reg_dealloc<kProducerRegisters<gathered>>();
    if (gathered != Gathered::none || threadIdx.x < 32)
      copy_tiles<layout, kN, gathered>(shared, &a_map, &b_map, p, epilogue);
  } else {
    warpgroup_reg_alloc<kConsumerRegisters<gathered>>();
    multiply_tiles<T, layout, kN, schedule, gathered>(shared, p, epilogue, group - 1);
  }
}

// a and b as for Ops::grouped_matmul; of a gathered one, the matrix with a row for each token. Of FP8 (NT
// alone) they, and p, are given as if two numbers were one of 16 bits.
template <class T, MatmulLayout layout, int kN, Schedule schedule, Gathered gathered, class Epilogue>
void run(cudaStream_t stream, int num_sms, const Tensor& a, const Tensor& b, const Product& p,
         const Epilogue& epilogue) {
  const auto map = [](const Tensor& t, int box_rows) {
    const int64_t columns = t.dim(t.rank() - 1);
    return tensor_map(t.dtype(), t.data(), t.numel() / columns, columns, box_rows);
  };
  const int64_t width = Epilogue::kHalves ? kN / 2 : kN,
                columns = ceil_div(Epilogue::kHalves ? p.n / 2 : p.n, width);
  const int64_t most =
      columns * (layout == MatmulLayout::TN ? p.experts * ceil_div(p.m, kM) : p.rows / kM + p.experts);
  launch(stream, kernel<T, layout, kN, schedule, gathered, Epilogue>,
         {blocks(std::min<int64_t>(num_sms, most)), 3 * kGroup, sizeof(SharedOf<layout, kN, Epilogue>)},
         map(a, layout == MatmulLayout::TN ? kLine : kM),
         map(b, layout == MatmulLayout::NT ? static_cast<int>(width) : kLine), p, epilogue);
}

// Calls body.template operator()<kN, schedule>() for a product with so many columns. Tiles of 256 columns
// unless more than a quarter of them would be empty.
template <class Body>
void with_tile(Schedule schedule, int64_t columns, Body&& body) {
  if (schedule == Schedule::pingpong) return body.template operator()<128, Schedule::pingpong>();
  const bool wide = ceil_div(columns, 256) * 256 * 3 <= columns * 4;
  wide ? body.template operator()<256, Schedule::cooperative>()
       : body.template operator()<128, Schedule::cooperative>();
}

// dw = a^T b of each expert's rows, or dw +=.
template <class T, Gathered gathered>
void gradient(cudaStream_t stream, int num_sms, Tensor& dw, const Tensor& a, const Tensor& b, Product p,
              bool accumulate, Schedule schedule) {
  p.m = static_cast<int>(a.dim(1));
  p.n = static_cast<int>(b.dim(1));
  with_tile(schedule, p.n, [&]<int kN, Schedule known>() {
    if (dw.dtype() == DType::f32)
      run<T, MatmulLayout::TN, kN, known, gathered>(
          stream, num_sms, a, b, p,
          StoreGradient<kN>{tensor_map_f32(dw.data(), p.experts, p.m, p.n, 16), accumulate});
    else
      run<T, MatmulLayout::TN, kN, known, gathered>(stream, num_sms, a, b, p,
                                                    Store<T, kN>{pointer<T>(dw), p.n, accumulate});
  });
}

}  // namespace moe::gpu::grouped
