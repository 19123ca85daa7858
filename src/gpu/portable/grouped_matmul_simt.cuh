// SPDX-License-Identifier: MIT
// Grouped products of f32 numbers in f32 arithmetic: a tile of 64 x 64, 4 x 4 of it by each thread.
#pragma once

#include <cstdint>

#include "gpu/expert_tiles.cuh"

namespace moe::gpu {

struct SimtTile {
  static constexpr int kM = 64, kN = 64, kInner = 16, kThreads = 256;
};

// to[k][i] = operand (outer index i, inner index k). inner_rows: its rows in memory are runs of the inner
// index.
template <bool inner_rows>
__device__ __forceinline__ void copy_simt(float (&to)[SimtTile::kInner][SimtTile::kM + 4], const float* from,
                                          int64_t stride, int outer_left, int inner_left) {
  constexpr int count = SimtTile::kM * SimtTile::kInner;
#pragma unroll
  for (int at = static_cast<int>(threadIdx.x); at < count; at += SimtTile::kThreads) {
    const int i = inner_rows ? at / SimtTile::kInner : at % SimtTile::kM;
    const int k = inner_rows ? at % SimtTile::kInner : at / SimtTile::kM;
    const bool inside = i < outer_left && k < inner_left;
    to[k][i] = inside ? from[inner_rows ? i * stride + k : k * stride + i] : 0.0F;
  }
}

template <MatmulLayout layout>
__global__ void __launch_bounds__(SimtTile::kThreads, 2)
    grouped_simt_kernel(GroupedProduct<float, float> product, int64_t a_stride, int64_t b_stride) {
  using Tile = SimtTile;
  __shared__ float a[Tile::kInner][Tile::kM + 4], b[Tile::kInner][Tile::kN + 4];
  const auto tile = expert_tile<layout, Tile::kM, Tile::kN>(product, static_cast<int>(blockIdx.x));
  if (tile.m == 0 || (tile.inner == 0 && product.accumulate)) return;
  const int m = static_cast<int>(threadIdx.x) / 16 * 4, n = static_cast<int>(threadIdx.x) % 16 * 4;
  float sum[4][4] = {};
  for (int first = 0; first < tile.inner; first += Tile::kInner) {
    constexpr bool a_inner = layout != MatmulLayout::TN, b_inner = layout == MatmulLayout::NT;
    copy_simt<a_inner>(a, tile.a + first * (a_inner ? 1 : a_stride), a_stride, tile.m, tile.inner - first);
    copy_simt<b_inner>(b, tile.b + first * (b_inner ? 1 : b_stride), b_stride, tile.n, tile.inner - first);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < Tile::kInner; ++k)
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[i][j] = fmaf(a[k][m + i], b[k][n + j], sum[i][j]);
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j)
      if (m + i < tile.m && n + j < tile.n) {
        float* const c = tile.c + (m + i) * product.n + n + j;
        *c = product.accumulate ? *c + sum[i][j] : sum[i][j];
      }
}

}  // namespace moe::gpu
