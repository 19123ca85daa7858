// SPDX-License-Identifier: MIT
// Scales of a grouped product's operands, for its epilogue: of the rows of A, which are tokens', and of those
// of B, which are the columns of c. They are powers of two (ops/fp8.h), so bf16 holds them, and to multiply
// by them is exact before rounding and after it.
#pragma once

#include "gpu/mma.cuh"
#include "gpu/sm90/grouped_tile.cuh"

namespace moe::gpu::grouped {

// The operands are what they are.
struct Unscaled {
  static constexpr bool kScaled = false;
  template <int kN>
  struct Held {};
  template <int kN, class ColumnOf>
  __device__ __forceinline__ Held<kN> begin(const Tile&, int, const ColumnOf&) const {
    return {};
  }
};

struct Scaled {
  static constexpr bool kScaled = true;
  Product p;
  const float *token_N, *column_EC;  // C: p.n

  // What a warp keeps while the products are under way: each lane its two rows' scales, and between them the
  // lanes have those of all kN columns of the tile. A word is a pair of bf16.
  template <int kN>
  struct Held {
    uint32_t rows, columns[kN / 64];

    // Of row i, twice.
    __device__ __forceinline__ uint32_t row(int i) const {
      return __byte_perm(rows, 0, i == 0 ? 0x1010 : 0x3232);
    }

    // Of the thread's pair of neighbours among the j-th 8 columns. All lanes of the warp call it.
    __device__ __forceinline__ uint32_t pair(int j) const {
      return __shfl_sync(kAllLanes, columns[j / 8], j % 8 * 4 + static_cast<int>(threadIdx.x) % 4);
    }
  };
  // column_of(i): of c, that the tile's i-th is, i even; p.n or more where there is none.
  template <int kN, class ColumnOf>
  __device__ __forceinline__ Held<kN> begin(const Tile& tile, int half, const ColumnOf& column_of) const {
    Held<kN> held = {};
    const float* const scale = column_EC + int64_t{tile.expert} * p.n;
#pragma unroll
    for (int m = 0; m < kN / 64; ++m) {
      const int column = column_of(m * 64 + static_cast<int>(threadIdx.x) % 32 * 2);
      if (column >= p.n) continue;
      const auto both = load<2>(scale + column);
      held.columns[m] = pack<bf16>(both.v[0], both.v[1]);
    }
    float of_row[2] = {};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = tile_row(half, i);
      if (row < tile.rows) of_row[i] = token_N[p.token_of(static_cast<uint32_t>(p.slot_R[tile.c_row + row]))];
    }
    held.rows = pack<bf16>(of_row[0], of_row[1]);
    return held;
  }
};

}  // namespace moe::gpu::grouped
