// SPDX-License-Identifier: MIT
// The epilogues of a grouped product on Hopper that write its sums, or add them to what is there: in 16
// bits, 16 bytes a thread, whole sectors of 32 bytes; in f32 by TMA. Each element of c has one owner, so the
// bits are the same in each run.
#pragma once

#include "gpu/sm90/grouped_tile.cuh"
#include "gpu/sm90/sm90.cuh"
#include "gpu/sm90/wgmma.cuh"

namespace moe::gpu::grouped {

// C: bf16 or f16.
template <class C, int kN>
struct Store {
  static constexpr bool kHalves = false, kBeginsLate = false;
  static constexpr int kPieces = 0, kStaging = 0;
  using Sums = float[kN / 2];
  C* c;
  int n;
  bool accumulate;

  struct Rows {};
  __device__ __forceinline__ Rows begin(const Tile&, int) const { return {}; }
  // Of an expert without rows.
  __device__ __forceinline__ void store_empty(const Tile& tile, int half, unsigned char*) const {
    if (accumulate) return;
    const Sums zeros = {};
    store(zeros, {}, tile, half, nullptr);
  }
  __device__ __forceinline__ void store(const Sums& sum, const Rows&, const Tile& tile, int half,
                                        unsigned char*) const {
    accumulate ? add(sum, tile, half) : write(sum, tile, half);
  }
  __device__ __forceinline__ void finish() const {}

 private:
  __device__ __forceinline__ C* row_of(const Tile& tile, int row) const { return c + (tile.c_row + row) * n; }

  __device__ __forceinline__ void write(const Sums& sum, const Tile& tile, int half) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = tile_row(half, i);
      C* const out = row_of(tile, row);
#pragma unroll
      for (int g = 0; g < kN / 32; ++g) {
        const uint4 values = rounded_chunk<C>(sum, i, g);
        const int column = tile.column + chunk_column(g);
        if (row < tile.rows && column < n) store_16(out + column, values);
      }
    }
  }

  // Loads go ahead of the sums that they are added to.
  __device__ __forceinline__ void add(const Sums& sum, const Tile& tile, int half) const {
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
};

// Weight gradients (TN) in f32: TMA writes or adds them from shared memory, behind the next tile's products.
// A warp goes through its 16 rows in pieces of 32 columns, by itself, with room for two.
template <int kN>
struct StoreGradient {
  static constexpr bool kHalves = false, kBeginsLate = false;
  static constexpr int kPieces = 0, kWarpBytes = 2 * 16 * 128, kStaging = 8 * kWarpBytes;
  struct Rows {};
  using Sums = float[kN / 2];
  CUtensorMap map;  // boxes of 16 rows
  bool accumulate;

  __device__ __forceinline__ Rows begin(const Tile&, int) const { return {}; }
  __device__ __forceinline__ void store_empty(const Tile& tile, int half, unsigned char* staging) const {
    if (accumulate) return;
    const Sums zeros = {};
    store(zeros, {}, tile, half, staging);
  }
  __device__ __forceinline__ void store(const Sums& sum, const Rows&, const Tile& tile, int half,
                                        unsigned char* staging) const {
    const int warp = static_cast<int>(threadIdx.x) / 32 - kGroup / 32,
              lane = static_cast<int>(threadIdx.x) % 32;
    const int row = lane / 4, first_row = tile.a_column + half * 64 + warp % 4 * 16;
    // Of the places of a row's pairs, swizzled, as they are for the first 8 columns; odd rows begin with the
    // third 8, so that rows that go out together do not meet in a bank.
    const int chunk = lane % 4 / 2 + row % 2 * 4;
    unsigned char* const own = staging + warp * kWarpBytes;
    const int place = row * 128 + (chunk ^ row) * 16 + lane % 2 * 8;
    const bool inside = lane == 0 && first_row < tile.a_column + tile.rows;
#pragma unroll
    for (int piece = 0; piece < kN / 32; ++piece) {
      unsigned char* const box = own + piece % 2 * (kWarpBytes / 2);
      if (lane == 0) tma_store_wait_read<1>();
      __syncwarp();
      write_piece(box, place, sum + piece * 16, row % 2 != 0);
      fence_async_proxy();
      __syncwarp();
      const int column = tile.column + piece * 32;
      if (inside && accumulate) tma_add(&map, box, column, first_row, tile.expert);
      if (inside && !accumulate) tma_store(&map, box, column, first_row, tile.expert);
      if (lane == 0) tma_store_commit();  // also of none: the waits count alike
    }
  }
  // What was copied out has been read.
  __device__ __forceinline__ void finish() const {
    tma_store_wait_read<0>();
  }

 private:
  // Pairs of 4 times 8 columns of two rows.
  __device__ __forceinline__ static void write_piece(unsigned char* box, int place, const float* sum,
                                                     bool odd) {
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const float *const low = sum + j * 4 + i * 2, *const high = low + 8;
        const float2 first = odd ? make_float2(high[0], high[1]) : make_float2(low[0], low[1]);
        const float2 second = odd ? make_float2(low[0], low[1]) : make_float2(high[0], high[1]);
        unsigned char* const to = box + i * 8 * 128;
        *reinterpret_cast<float2*>(to + (place ^ j * 32)) = first;
        *reinterpret_cast<float2*>(to + (place ^ j * 32 ^ 64)) = second;
      }
  }
};

}  // namespace moe::gpu::grouped
