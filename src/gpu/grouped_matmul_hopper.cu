// SPDX-License-Identifier: MIT
// A persistent kernel: each block computes tiles of 128 x kN in turn. One warp keeps the copy engine busy, kStages pieces
// of 64 along the inner dimension ahead; two warpgroups multiply, each 64 rows of the tile, and store while the copies
// for the next tile are under way. Barriers in shared memory hand the stages back and forth.
//
// Tiles need no padding: one that runs past its expert's rows or columns multiplies its neighbour's too and does not
// store them. Only where the inner dimension is the expert's rows (TN) must foreign lines be cleared before they count.
#include "gpu/grouped_matmul_hopper.h"

#include <algorithm>

#include "gpu/dynamic_shared.cuh"
#include "gpu/expert_tiles.cuh"
#include "gpu/hopper.cuh"
#include "gpu/launch.h"
#include "gpu/pipeline_hopper.cuh"
#include "gpu/tensor_map.h"
#include "gpu/wgmma.cuh"

namespace moe::gpu {
namespace {

constexpr int kM = 128, kStages = 4;
constexpr uint32_t kBox = kLine * 128;  // bytes of 64 lines

template <class C>
struct Product {
  C* c;
  const int32_t* offset_E1;
  int m, n, inner;  // the dimension that depends on the expert is 0
  int experts, tiles;
  bool accumulate;
};

// Where a tile lies: rows and columns of c, coordinates of the operands, and how much of it counts.
struct Tile {
  int64_t c_row = 0;
  int column = 0, a_row = 0, b_row = 0, a_column = 0;
  int rows = 0, inner = -1;  // inner < 0: there is no such tile
};

template <Form form, int kN, class C>
__device__ __forceinline__ Tile find_tile(const Product<C>& p, int index) {
  const int columns = (p.n + kN - 1) / kN;
  Tile tile;
  tile.column = index % columns * kN;
  if constexpr (form == Form::TN) {
    const int row_tiles = (p.m + kM - 1) / kM, expert = index / columns / row_tiles;
    tile.a_column = index / columns % row_tiles * kM;
    tile.a_row = tile.b_row = p.offset_E1[expert];
    tile.inner = p.offset_E1[expert + 1] - tile.a_row;
    tile.rows = p.m - tile.a_column;
    tile.c_row = int64_t{expert} * p.m + tile.a_column;
  } else {
    const RowTile found = find_row_tile<kM>(p.offset_E1, p.experts, index / columns);
    if (found.expert < 0) return tile;
    tile.a_row = found.begin;
    tile.b_row = found.expert * (form == Form::NT ? p.n : p.inner);
    tile.inner = p.inner;
    tile.rows = found.end - found.begin;
    tile.c_row = found.begin;
  }
  return tile;
}

// One stage of shared memory: kM lines of A (or 2 boxes), then kN lines of B (or kN / 64 boxes).
template <int kN>
struct alignas(1024) Stage {
  unsigned char a[kM * 128];
  unsigned char b[kN * 128];
};

template <int kN>
struct Shared {
  Stage<kN> stages[kStages];
  Pipeline<kStages> pipeline;
};

template <Form form, int kN>
__device__ __forceinline__ void copy_stage(Stage<kN>& stage, Barrier* full, const CUtensorMap* a_map,
                                           const CUtensorMap* b_map, const Tile& tile, int k) {
  barrier_arrive_expect(full, sizeof(Stage<kN>));
  if constexpr (form == Form::TN) {
    for (int i = 0; i < kM / kLine; ++i)
      tma_load(stage.a + i * kBox, a_map, full, tile.a_column + i * kLine, tile.a_row + k);
  } else {
    tma_load(stage.a, a_map, full, k, tile.a_row);
  }
  if constexpr (form == Form::NT) {
    tma_load(stage.b, b_map, full, k, tile.b_row + tile.column);
  } else {
    for (int i = 0; i < kN / kLine; ++i)
      tma_load(stage.b + i * kBox, b_map, full, tile.column + i * kLine, tile.b_row + k);
  }
}

template <Form form, int kN, class C>
__device__ __forceinline__ void copy_tiles(Shared<kN>& shared, const CUtensorMap* a_map,
                                           const CUtensorMap* b_map, const Product<C>& p) {
  Walk<kStages> walk;
  for (int index = static_cast<int>(blockIdx.x); index < p.tiles; index += static_cast<int>(gridDim.x)) {
    const Tile tile = find_tile<form, kN>(p, index);
    if (tile.inner < 0) return;
    for (int k = 0; k < tile.inner; k += kLine, walk.next()) {
      shared.pipeline.wait_empty(walk);
      if (one_lane())
        copy_stage<form, kN>(shared.stages[walk.stage], &shared.pipeline.full[walk.stage], a_map, b_map, tile,
                             k);
      __syncwarp();
    }
  }
}

// Clears the lines of both operands from `lines` on, so that rows of the next expert count as zero.
template <int kN>
__device__ __forceinline__ void clear_lines(Stage<kN>& stage, int lines) {
  constexpr int boxes = (kM + kN) / kLine, chunks = 128 / sizeof(uint4);
  auto* const memory = reinterpret_cast<uint4*>(stage.a);
  const int thread = static_cast<int>(threadIdx.x) - kGroup, left = kLine - lines;
  for (int i = thread; i < boxes * left * chunks; i += 2 * kGroup) {
    const int box = i / (left * chunks), within = i % (left * chunks);
    memory[(box * kLine + lines) * chunks + within] = make_uint4(0, 0, 0, 0);
  }
  fence_async_proxy();
  named_barrier(1, 2 * kGroup);
}

template <Form form, int kN>
__device__ __forceinline__ void multiply_stage(float (&sum)[kN / 2], const Stage<kN>& stage, int group,
                                               bool first) {
  const unsigned char* const a = stage.a + group * kBox;  // 64 of the 128 rows
  wgmma_fence();
#pragma unroll
  for (int k16 = 0; k16 < kLine / 16; ++k16) {
    const uint64_t a_piece = form == Form::TN ? columns_descriptor(a, k16, kBox) : rows_descriptor(a, k16);
    const uint64_t b_piece =
        form == Form::NT ? rows_descriptor(stage.b, k16) : columns_descriptor(stage.b, k16, kBox);
    wgmma<form == Form::TN, form != Form::NT>(sum, a_piece, b_piece, !first || k16 > 0);
  }
  wgmma_commit();
}

template <int kN, class C>
__device__ __forceinline__ void store_tile(const float (&sum)[kN / 2], const Product<C>& p, const Tile& tile,
                                           int group) {
  const int thread = static_cast<int>(threadIdx.x) % kGroup, lane = thread % 32;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = group * 64 + thread / 32 * 16 + lane / 4 + i * 8;
    if (row >= tile.rows) continue;
    C* const out = p.c + (tile.c_row + row) * p.n + tile.column + lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < kN / 8; ++j) {
      if (tile.column + j * 8 >= p.n) break;
      const float x = sum[j * 4 + i * 2], y = sum[j * 4 + i * 2 + 1];
      if constexpr (sizeof(C) == 4) {
        if (p.accumulate) {
          add_in_memory(out + j * 8, x, y);
          continue;
        }
      }
      Vec<C, 2> pair;
      if (p.accumulate) pair = load<2>(out + j * 8);
      pair.v[0] = from_float<C>(p.accumulate ? x + to_float(pair.v[0]) : x);
      pair.v[1] = from_float<C>(p.accumulate ? y + to_float(pair.v[1]) : y);
      store(out + j * 8, pair);
    }
  }
}

// The tile of an expert without rows.
template <int kN, class C>
__device__ __forceinline__ void store_zeros(const Product<C>& p, const Tile& tile, int group) {
  const int thread = static_cast<int>(threadIdx.x) % kGroup, columns = min(kN, p.n - tile.column);
  for (int row = group * 64; row < min(group * 64 + 64, tile.rows); ++row)
    for (int column = thread; column < columns; column += kGroup)
      p.c[(tile.c_row + row) * p.n + tile.column + column] = from_float<C>(0);
}

template <Form form, int kN, class C>
__device__ __forceinline__ void multiply_tiles(Shared<kN>& shared, const Product<C>& p, int group) {
  float sum[kN / 2];
  Walk<kStages> walk;
  for (int index = static_cast<int>(blockIdx.x); index < p.tiles; index += static_cast<int>(gridDim.x)) {
    const Tile tile = find_tile<form, kN>(p, index);
    if (tile.inner < 0) return;
    if (tile.inner == 0) {
      if (!p.accumulate) store_zeros<kN>(p, tile, group);
      continue;
    }
    int before = -1;  // the stage that may still be read
    for (int k = 0; k < tile.inner; k += kLine, walk.next()) {
      Stage<kN>& stage = shared.stages[walk.stage];
      shared.pipeline.wait_full(walk);
      if (form == Form::TN && tile.inner - k < kLine) clear_lines(stage, tile.inner - k);
      multiply_stage<form, kN>(sum, stage, group, k == 0);
      wgmma_wait<1>();
      if (before >= 0) shared.pipeline.release(before);
      before = walk.stage;
    }
    wgmma_wait<0>();
    if (before >= 0) shared.pipeline.release(before);
    store_tile<kN>(sum, p, tile, group);
  }
}

template <Form form, int kN, class C>
__global__ void __launch_bounds__(3 * kGroup, 1)
    hopper_kernel(const __grid_constant__ CUtensorMap a_map, const __grid_constant__ CUtensorMap b_map,
                  Product<C> p) {
  Shared<kN>& shared = *dynamic_shared<Shared<kN>>();
  if (threadIdx.x == 0) {
    shared.pipeline.init(2 * kGroup / 32);
    fence_barriers();
  }
  __syncthreads();
  const int group = static_cast<int>(threadIdx.x) / kGroup;
  if (group == 0) {
    fewer_registers<40>();
    if (threadIdx.x < 32) copy_tiles<form, kN>(shared, &a_map, &b_map, p);
  } else {
    more_registers<232>();
    multiply_tiles<form, kN>(shared, p, group - 1);
  }
}

template <Form form, int kN, class C>
void run(cudaStream_t stream, int processors, const Tensor& a, const Tensor& b, Product<C> p) {
  const int64_t columns = ceil_div(p.n, kN), rows = a.dim(0);
  p.tiles =
      static_cast<int>(columns * (form == Form::TN ? p.experts * ceil_div(p.m, kM) : rows / kM + p.experts));
  const CUtensorMap a_map = tensor_map(a.data(), rows, a.dim(1), form == Form::TN ? kLine : kM);
  const int64_t b_rows = b.numel() / b.dim(b.rank() - 1);
  const CUtensorMap b_map = tensor_map(b.data(), b_rows, b.dim(b.rank() - 1), form == Form::NT ? kN : kLine);
  launch(stream, hopper_kernel<form, kN, C>,
         {blocks(std::min<int64_t>(processors, p.tiles)), 3 * kGroup, sizeof(Shared<kN>)}, a_map, b_map, p);
}

template <Form form, class C>
void run(cudaStream_t stream, int processors, const Tensor& a, const Tensor& b, const Product<C>& p) {
  // 256 columns unless more than a quarter of them would be empty.
  const bool wide = ceil_div(p.n, 256) * 256 * 3 <= p.n * 4;
  wide ? run<form, 256>(stream, processors, a, b, p) : run<form, 128>(stream, processors, a, b, p);
}

template <class C>
void run(cudaStream_t stream, int processors, Tensor& c, const Tensor& a, const Tensor& b,
         const Tensor& offset_E1, Form form, bool accumulate) {
  Product<C> p{.c = pointer<C>(c),
               .offset_E1 = pointer<int32_t>(offset_E1),
               .m = 0,
               .n = static_cast<int>(c.dim(c.rank() - 1)),
               .inner = 0,
               .experts = static_cast<int>(offset_E1.numel() - 1),
               .tiles = 0,
               .accumulate = accumulate};
  if (form == Form::TN)
    p.m = static_cast<int>(a.dim(1));
  else
    p.inner = static_cast<int>(a.dim(1));
  switch (form) {
    case Form::NT:
      return run<Form::NT>(stream, processors, a, b, p);
    case Form::NN:
      return run<Form::NN>(stream, processors, a, b, p);
    case Form::TN:
      return run<Form::TN>(stream, processors, a, b, p);
  }
}

}  // namespace

bool hopper_takes(const Tensor& c, const Tensor& a, const Tensor& b, Form form) {
  if (a.dtype() != DType::bf16 || a.dim(0) == 0) return false;
  for (const Tensor* t : {&c, &a, &b})
    if (reinterpret_cast<uintptr_t>(t->data()) % 16 != 0 || t->dim(t->rank() - 1) % 8 != 0) return false;
  return form != Form::NN || a.dim(1) % kLine == 0;
}

void hopper_grouped_matmul(cudaStream_t stream, int processors, Tensor& c, const Tensor& a, const Tensor& b,
                           const Tensor& offset_E1, Form form, bool accumulate) {
  if (c.dtype() == DType::f32)
    run<float>(stream, processors, c, a, b, offset_E1, form, accumulate);
  else
    run<bf16>(stream, processors, c, a, b, offset_E1, form, accumulate);
}

}  // namespace moe::gpu
