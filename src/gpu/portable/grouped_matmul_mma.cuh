// SPDX-License-Identifier: MIT
// Grouped products of 16-bit numbers on the matrix units of sm_80 and newer. A block computes a tile of 128 x
// 128 with four warps of 64 x 64; its operands pass through a ring of stages in shared memory, filled while
// older ones are used.
#pragma once

#include <cstdint>

#include "gpu/dynamic_shared.cuh"
#include "gpu/expert_tiles.cuh"
#include "gpu/portable/shared_tile.cuh"

namespace moe::gpu {

struct MmaTile {
  static constexpr int kM = 128, kN = 128, kInner = 32, kStages = 4, kThreads = 128;
  static constexpr int kWarpM = 64, kWarpN = 64, kWarpsN = kN / kWarpN;
  static constexpr int kStageElements = (kM + kN) * kInner;
  static constexpr int kSharedBytes = kStages * kStageElements * 2;
  static constexpr int kRowFloats = kWarpN + 8;  // of a warp's buffer for results; 8: fewer bank conflicts
  static_assert(4 * 16 * kRowFloats * 4 <= kSharedBytes);
};

// How an operand lies in memory and in its tile. inner: rows of consecutive inner indices.
constexpr Along along_a(MatmulLayout layout) {
  return layout == MatmulLayout::TN ? Along::outer : Along::inner;
}
constexpr Along along_b(MatmulLayout layout) {
  return layout == MatmulLayout::NT ? Along::inner : Along::outer;
}

template <Along along, bool wide, class T>
__device__ __forceinline__ void copy_operand(T* to, const T* from, int64_t stride, int outer_left, int k,
                                             int inner) {
  using Tile = MmaTile;
  if constexpr (along == Along::inner)
    copy_tile<Tile::kM, Tile::kInner, Tile::kThreads, wide>(to, from + k, stride, outer_left, inner - k);
  else
    copy_tile<Tile::kInner, Tile::kM, Tile::kThreads, wide>(to, from + k * stride, stride, inner - k,
                                                            outer_left);
}

template <Along along>
inline constexpr int kTileWidth = along == Along::inner ? MmaTile::kInner : MmaTile::kM;
static_assert(MmaTile::kM == MmaTile::kN);

// sum += the products of one stage, for the warp at (warp_m, warp_n) of the tile.
template <MatmulLayout layout, class T>
__device__ __forceinline__ void multiply_stage(float (&sum)[4][8][4], const T* a_tile, const T* b_tile,
                                               int warp_m, int warp_n) {
  constexpr Along a_along = along_a(layout), b_along = along_b(layout);
#pragma unroll
  for (int k = 0; k < MmaTile::kInner; k += 16) {
    uint32_t a[4][4], b[4][4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      load_a<kTileWidth<a_along>, a_along>(a[i], a_tile, warp_m + 16 * i, k);
      load_b<kTileWidth<b_along>, b_along>(b[i], b_tile, warp_n + 16 * i, k);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 8; ++j) mma_16x8x16<T>(sum[i][j], a[i], b[j / 2] + j % 2 * 2);
  }
}

// Writes `count` (at most `width`) consecutive elements.
template <class C, int width>
__device__ __forceinline__ void write_row(C* c, const Vec<float, width>& values, int count, bool wide,
                                          bool accumulate) {
  if (wide && count >= width) {
    Vec<C, width> out{};
    if (accumulate) out = load<width>(c);
#pragma unroll
    for (int j = 0; j < width; ++j)
      out.v[j] = from_float<C>(accumulate ? to_float(out.v[j]) + values.v[j] : values.v[j]);
    store(c, out);
    return;
  }
#pragma unroll
  for (int j = 0; j < width; ++j)
    if (j < count) c[j] = from_float<C>(accumulate ? to_float(c[j]) + values.v[j] : values.v[j]);
}

// A warp's 64 x 64 results to c, 16 rows at a time through `buffer`, so that stores are wide. m, n: what is
// left of the product at the warp's corner c.
template <class C>
__device__ __forceinline__ void write_warp(C* c, int64_t stride, int m, int n, const float (&sum)[4][8][4],
                                           float* buffer, bool wide, bool accumulate) {
  constexpr int width = 16 / static_cast<int>(sizeof(C)), lanes = MmaTile::kWarpN / width;
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    __syncwarp();
#pragma unroll
    for (int j = 0; j < 8; ++j)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        store(buffer + (g + 8 * half) * MmaTile::kRowFloats + 8 * j + 2 * t,
              Vec<float, 2>{{sum[i][j][2 * half], sum[i][j][2 * half + 1]}});
    __syncwarp();
    const int column = lane % lanes * width;
#pragma unroll
    for (int row = lane / lanes; row < 16; row += 32 / lanes)
      if (16 * i + row < m)
        write_row(c + (16 * i + row) * stride + column,
                  load<width>(buffer + row * MmaTile::kRowFloats + column), n - column, wide, accumulate);
  }
}

// wide: a, b and their rows are multiples of 16 bytes. wide_c: c and its rows.
template <MatmulLayout layout, bool wide, class T, class C>
__global__ void __launch_bounds__(MmaTile::kThreads, 2)
    grouped_mma_kernel(GroupedProduct<T, C> product, int64_t a_stride, int64_t b_stride, bool wide_c) {
  using Tile = MmaTile;
  T* const stages = dynamic_shared<T>();
  const auto tile = expert_tile<layout, Tile::kM, Tile::kN>(product, static_cast<int>(blockIdx.x));
  if (tile.m == 0 || (tile.inner == 0 && product.accumulate)) return;

  const auto copy_stage = [&](int step) {
    const int k = step * Tile::kInner;
    if (k < tile.inner) {
      T* const a = stages + step % Tile::kStages * Tile::kStageElements;
      copy_operand<along_a(layout), wide>(a, tile.a, a_stride, tile.m, k, tile.inner);
      copy_operand<along_b(layout), wide>(a + Tile::kM * Tile::kInner, tile.b, b_stride, tile.n, k,
                                          tile.inner);
    }
    cp_async_commit();  // empty past the end, so that the waits count alike
  };
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_m = warp / Tile::kWarpsN * Tile::kWarpM, warp_n = warp % Tile::kWarpsN * Tile::kWarpN;
  float sum[4][8][4] = {};
#pragma unroll
  for (int step = 0; step < Tile::kStages - 1; ++step) copy_stage(step);
  for (int step = 0; step * Tile::kInner < tile.inner; ++step) {
    cp_async_wait<Tile::kStages - 2>();
    __syncthreads();  // this stage has arrived for all; the one before is used up and may be filled
    copy_stage(step + Tile::kStages - 1);
    const T* const a = stages + step % Tile::kStages * Tile::kStageElements;
    multiply_stage<layout>(sum, a, a + Tile::kM * Tile::kInner, warp_m, warp_n);
  }
  cp_async_wait<0>();
  __syncthreads();  // the stages are free: they become the buffers of the results
  float* const buffer = reinterpret_cast<float*>(stages) + warp * 16 * Tile::kRowFloats;
  write_warp(tile.c + warp_m * product.n + warp_n, product.n, tile.m - warp_m, tile.n - warp_n, sum, buffer,
             wide_c, product.accumulate);
}

}  // namespace moe::gpu
