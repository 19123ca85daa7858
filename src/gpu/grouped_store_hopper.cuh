// SPDX-License-Identifier: MIT
// The epilogue of a grouped product on Hopper that writes its sums, in bf16 or f32, or adds them to what is there: 16
// bytes a thread, whole sectors of 32 bytes. Each element of c has one owner, so the bits are the same in each run.
#pragma once

#include "gpu/grouped_tile_hopper.cuh"
#include "gpu/hopper.cuh"
#include "gpu/wgmma.cuh"

namespace moe::gpu::grouped {

template <int kN, class C>
struct Store {
  static constexpr bool kHalves = false;
  using Sums = float[kN / 2];
  C* c;
  int n;
  bool accumulate;

  __device__ __forceinline__ void prefetch(const Tile&, int) const {}
  // Of an expert without rows.
  __device__ __forceinline__ void store_empty(const Tile& tile, int half) const {
    if (accumulate) return;
    const Sums zeros = {};
    store(zeros, tile, half);
  }
  __device__ __forceinline__ void store(const Sums& sum, const Tile& tile, int half) const {
    if constexpr (sizeof(C) == 4)
      store_f32(sum, tile, half);
    else
      accumulate ? add_bf16(sum, tile, half) : store_bf16(sum, tile, half);
  }

 private:
  __device__ __forceinline__ C* row_of(const Tile& tile, int row) const { return c + (tile.c_row + row) * n; }

  __device__ __forceinline__ void store_bf16(const Sums& sum, const Tile& tile, int half) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = tile_row(half, i);
      C* const out = row_of(tile, row);
#pragma unroll
      for (int g = 0; g < kN / 32; ++g) {
        const auto values = rounded_chunk(sum, i, g);
        const int column = tile.column + chunk_column(g);
        if (row < tile.rows && column < n) gpu::store(out + column, values);
      }
    }
  }

  // Loads go ahead of the sums that they are added to.
  __device__ __forceinline__ void add_bf16(const Sums& sum, const Tile& tile, int half) const {
    constexpr int ahead = 4, chunks = kN / 32;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = tile_row(half, i);
      C* const out = row_of(tile, row);
      const auto inside = [&](int g) {
        return row < tile.rows && g < chunks && tile.column + chunk_column(g) < n;
      };
      const auto place = [&](int g) { return out + tile.column + chunk_column(g); };
      Vec<C, 8> old[ahead];
#pragma unroll
      for (int g = 0; g < ahead; ++g)
        if (inside(g)) old[g] = load<8>(place(g));
#pragma unroll
      for (int g = 0; g < chunks; ++g) {
        const Vec<float, 8> values = chunk(sum, i, g);
        Vec<C, 8>& result = old[g % ahead];
        if (!inside(g)) continue;
#pragma unroll
        for (int j = 0; j < 8; ++j) result.v[j] = from_float<C>(to_float(result.v[j]) + values.v[j]);
        gpu::store(place(g), result);
        if (inside(g + ahead)) result = load<8>(place(g + ahead));
      }
    }
  }

  // Two lanes exchange pairs, so that each has 4 neighbours, the even one of the first 8 columns of 16, the odd one of
  // the second.
  __device__ __forceinline__ void store_f32(const Sums& sum, const Tile& tile, int half) const {
    const int lane = static_cast<int>(threadIdx.x) % 4;
    const bool odd = lane % 2 != 0;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = tile_row(half, i);
      C* const out = row_of(tile, row);
#pragma unroll
      for (int j = 0; j < kN / 8; j += 2) {
        const float *const first = sum + j * 4 + i * 2, *const second = first + 4;
        const float x = __shfl_xor_sync(kAllLanes, odd ? first[0] : second[0], 1);
        const float y = __shfl_xor_sync(kAllLanes, odd ? first[1] : second[1], 1);
        float4 values = odd ? make_float4(x, y, second[0], second[1]) : make_float4(first[0], first[1], x, y);
        compute_now(values);
        const int column = tile.column + j * 8 + (odd ? 8 : 0) + lane / 2 * 4;
        const bool inside = row < tile.rows && column < n;
        if (inside && accumulate) add_in_memory(out + column, values);
        if (inside && !accumulate) *reinterpret_cast<float4*>(out + column) = values;
      }
    }
  }
};

}  // namespace moe::gpu::grouped
