// SPDX-License-Identifier: MIT
// Which tile of a grouped product a block computes. How many rows each expert has is known only on the
// device, so grids are sized for the worst case and each warp finds its tile from the offsets; blocks past
// the last tile have none. The tiles of one expert are neighbours, so that its weights are read from memory
// once.
#pragma once

#include <cstdint>

#include "gpu/block_reduce.cuh"
#include "gpu/launch.h"
#include "ops/ops.h"

namespace moe::gpu {

// A grouped product as ops/ops.h has it: c[m, n] = op(a) op(b) over `inner`. For NT and NN, m are the rows of
// an expert and `rows` those of c; for TN the expert's rows are the inner index and `rows` those of a.
template <class T, class C>
struct GroupedProduct {
  C* c;
  const T *a, *b;
  const int32_t* offset_E1;
  int64_t m, n, inner;  // the dimension that depends on the expert is 0
  int64_t rows;
  int experts;
  bool accumulate;
};

// A tile of one expert's product, pointers at its corner; m and n: rows and columns from there to the end of
// the expert's product, which may be more than a tile. m = 0: no tile.
template <class T, class C>
struct ExpertTile {
  C* c = nullptr;
  const T *a = nullptr, *b = nullptr;
  int m = 0, n = 0, inner = 0;
};

struct RowTile {
  int expert, begin, end;  // rows from the tile's first to the expert's last; expert < 0: none
};

// Tile number `index` when the rows of each expert are cut into tiles of tile_rows. All lanes of a warp ask
// alike.
template <int tile_rows>
__device__ __forceinline__ RowTile find_row_tile(const int32_t* offset_E1, int experts, int index) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int before = 0;  // tiles of the experts before this round
  for (int first = 0; first < experts; first += 32) {
    const int expert = first + lane;
    const int begin = expert < experts ? offset_E1[expert] : 0;
    const int end = expert < experts ? offset_E1[expert + 1] : 0;
    const int tiles = (end - begin + tile_rows - 1) / tile_rows;
    int last = tiles;  // tiles up to this expert, itself included
#pragma unroll
    for (unsigned lanes = 1; lanes < 32; lanes *= 2) {
      const int other = __shfl_up_sync(kAllLanes, last, lanes);
      if (lane >= static_cast<int>(lanes)) last += other;
    }
    const int within = index - before - (last - tiles);
    const unsigned found = __ballot_sync(kAllLanes, within >= 0 && within < tiles);
    if (found != 0) {
      const int source = __ffs(static_cast<int>(found)) - 1;
      const int start = __shfl_sync(kAllLanes, begin + within * tile_rows, source);
      return {first + source, start, __shfl_sync(kAllLanes, end, source)};
    }
    before += __shfl_sync(kAllLanes, last, 31);
  }
  return {-1, 0, 0};
}

// The blocks that expert_tile() wants.
template <MatmulLayout layout, int tile_m, int tile_n, class T, class C>
int64_t expert_tiles(const GroupedProduct<T, C>& p) {
  const int64_t columns = ceil_div(p.n, tile_n);
  return columns *
         (layout == MatmulLayout::TN ? p.experts * ceil_div(p.m, tile_m) : p.rows / tile_m + p.experts);
}

// The tile of block `index`.
template <MatmulLayout layout, int tile_m, int tile_n, class T, class C>
__device__ __forceinline__ ExpertTile<T, C> expert_tile(const GroupedProduct<T, C>& p, int index) {
  const int columns = static_cast<int>((p.n + tile_n - 1) / tile_n);
  const int64_t n = int64_t{index % columns} * tile_n;
  ExpertTile<T, C> tile;
  tile.n = static_cast<int>(p.n - n);
  if constexpr (layout == MatmulLayout::TN) {
    const int tiles = static_cast<int>((p.m + tile_m - 1) / tile_m);
    const int64_t m = int64_t{index / columns % tiles} * tile_m, expert = index / columns / tiles;
    const int64_t begin = p.offset_E1[expert];
    tile.m = static_cast<int>(p.m - m);
    tile.inner = static_cast<int>(p.offset_E1[expert + 1] - begin);
    tile.a = p.a + begin * p.m + m;
    tile.b = p.b + begin * p.n + n;
    tile.c = p.c + (expert * p.m + m) * p.n + n;
  } else {
    const RowTile rows = find_row_tile<tile_m>(p.offset_E1, p.experts, index / columns);
    if (rows.expert < 0) return tile;
    tile.m = rows.end - rows.begin;
    tile.inner = static_cast<int>(p.inner);
    tile.a = p.a + rows.begin * p.inner;
    tile.b = p.b + rows.expert * p.n * p.inner + (layout == MatmulLayout::NT ? n * p.inner : n);
    tile.c = p.c + rows.begin * p.n + n;
  }
  return tile;
}

}  // namespace moe::gpu
