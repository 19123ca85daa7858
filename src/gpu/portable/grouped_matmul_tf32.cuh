// SPDX-License-Identifier: MIT
// Grouped products of f32 numbers on the matrix units of sm_80 and newer: operands rounded to TF32 (10 bits
// of mantissa), sums in f32. A block computes a tile of 128 x 128 with eight warps of 32 x 64; pieces of 16
// along the inner dimension pass through a ring of stages in shared memory.
#pragma once

#include <cstdint>

#include "gpu/dynamic_shared.cuh"
#include "gpu/expert_tiles.cuh"
#include "gpu/mma.cuh"

namespace moe::gpu {

struct Tf32Tile {
  static constexpr int kM = 128, kN = 128, kInner = 16, kStages = 3, kThreads = 256;
  static constexpr int kWarpM = 32, kWarpN = 64, kWarpsN = kN / kWarpN;
  static constexpr int kOperand = kM * (kInner + 4);  // floats of one operand in a stage, either way
  static constexpr int kSharedBytes = kStages * 2 * kOperand * 4;
};
static_assert(Tf32Tile::kM == Tf32Tile::kN && Tf32Tile::kInner * (Tf32Tile::kM + 8) <= Tf32Tile::kOperand);

// One operand in shared memory, its rows as in memory: of consecutive inner indices, or of consecutive outer
// ones. Rows are padded, so that the 32 numbers of a fragment lie in different banks.
template <bool inner_rows>
struct Tf32Operand {
  static constexpr int kWidth = inner_rows ? Tf32Tile::kInner : Tf32Tile::kM;
  static constexpr int kRows = inner_rows ? Tf32Tile::kM : Tf32Tile::kInner;
  static constexpr int kStride = kWidth + (inner_rows ? 4 : 8);

  // Starts the copy; zeros outside. wide: `from` and the stride are multiples of 16 bytes; else elements move
  // one by one.
  template <bool wide>
  __device__ static void copy(float* to, const float* from, int64_t stride, int outer_left, int inner_left) {
    constexpr int pieces = kWidth / 4;
    const int rows_left = inner_rows ? outer_left : inner_left,
              width_left = inner_rows ? inner_left : outer_left;
#pragma unroll
    for (int at = static_cast<int>(threadIdx.x); at < kRows * pieces; at += Tf32Tile::kThreads) {
      const int row = at / pieces, column = at % pieces * 4;
      const int count = row < rows_left ? max(0, min(4, width_left - column)) : 0;
      float* const place = to + row * kStride + column;
      const float* const source = from + row * stride + column;
      if constexpr (wide) {
        cp_async_16(place, count > 0 ? source : from, count * 4);
      } else {
#pragma unroll
        for (int j = 0; j < 4; ++j) place[j] = j < count ? source[j] : 0.0F;
      }
    }
  }

  // Element (outer index i, inner index k), rounded.
  __device__ static uint32_t at(const float* operand, int i, int k) {
    return to_tf32(operand[inner_rows ? i * kStride + k : k * kStride + i]);
  }
};

template <MatmulLayout layout>
__device__ __forceinline__ void multiply_tf32_stage(float (&sum)[2][8][4], const float* a_stage,
                                                    const float* b_stage, int warp_m, int warp_n) {
  using A = Tf32Operand<layout != MatmulLayout::TN>;
  using B = Tf32Operand<layout == MatmulLayout::NT>;
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
#pragma unroll
  for (int k = t; k < Tf32Tile::kInner; k += 8) {
    uint32_t a[2][4];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = warp_m + 16 * i + g;
      a[i][0] = A::at(a_stage, row, k);
      a[i][1] = A::at(a_stage, row + 8, k);
      a[i][2] = A::at(a_stage, row, k + 4);
      a[i][3] = A::at(a_stage, row + 8, k + 4);
    }
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const int column = warp_n + 8 * j + g;
      const uint32_t b[2] = {B::at(b_stage, column, k), B::at(b_stage, column, k + 4)};
#pragma unroll
      for (int i = 0; i < 2; ++i) mma_16x8x8_tf32(sum[i][j], a[i], b);
    }
  }
}

// wide: a, b and their rows are multiples of 16 bytes.
template <MatmulLayout layout, bool wide>
__global__ void __launch_bounds__(Tf32Tile::kThreads)
    grouped_tf32_kernel(GroupedProduct<float, float> product, int64_t a_stride, int64_t b_stride) {
  using Tile = Tf32Tile;
  using A = Tf32Operand<layout != MatmulLayout::TN>;
  using B = Tf32Operand<layout == MatmulLayout::NT>;
  float* const stages = dynamic_shared<float>();
  const auto tile = expert_tile<layout, Tile::kM, Tile::kN>(product, static_cast<int>(blockIdx.x));
  if (tile.m == 0 || (tile.inner == 0 && product.accumulate)) return;

  const auto copy_stage = [&](int step) {
    const int k = step * Tile::kInner;
    if (k < tile.inner) {
      float* const a = stages + step % Tile::kStages * 2 * Tile::kOperand;
      A::template copy<wide>(a, tile.a + k * (layout != MatmulLayout::TN ? 1 : a_stride), a_stride, tile.m,
                             tile.inner - k);
      B::template copy<wide>(a + Tile::kOperand, tile.b + k * (layout == MatmulLayout::NT ? 1 : b_stride),
                             b_stride, tile.n, tile.inner - k);
    }
    cp_async_commit();  // empty past the end, so that the waits count alike
  };
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_m = warp / Tile::kWarpsN * Tile::kWarpM, warp_n = warp % Tile::kWarpsN * Tile::kWarpN;
  float sum[2][8][4] = {};
#pragma unroll
  for (int step = 0; step < Tile::kStages - 1; ++step) copy_stage(step);
  for (int step = 0; step * Tile::kInner < tile.inner; ++step) {
    cp_async_wait<Tile::kStages - 2>();
    __syncthreads();  // this stage has arrived for all; the one before is used up and may be filled
    copy_stage(step + Tile::kStages - 1);
    const float* const a = stages + step % Tile::kStages * 2 * Tile::kOperand;
    multiply_tf32_stage<layout>(sum, a, a + Tile::kOperand, warp_m, warp_n);
  }
  cp_async_wait<0>();

  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int i = 0; i < 2; ++i)
#pragma unroll
    for (int j = 0; j < 8; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int m = warp_m + 16 * i + lane / 4 + e / 2 * 8, n = warp_n + 8 * j + lane % 4 * 2 + e % 2;
        if (m >= tile.m || n >= tile.n) continue;
        float* const c = tile.c + m * product.n + n;
        *c = product.accumulate ? *c + sum[i][j][e] : sum[i][j][e];
      }
}

}  // namespace moe::gpu
