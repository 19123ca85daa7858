// SPDX-License-Identifier: MIT
// An operand whose rows are those of tokens, in the order of the routed rows, brought into a stage of shared
// memory by a warpgroup, 16 bytes a copy: so no gathered copy of it is kept in memory. It lies as TMA would
// leave it, in lines of 128 bytes swizzled by 8 lines. The warps that copy have a scheduler each to
// themselves, where instructions that depend on each other are slow: what is the same for several copies is
// computed once.
#pragma once

#include "gpu/mma.cuh"
#include "gpu/sm90/grouped_tile.cuh"
#include "gpu/sm90/sm90.cuh"

namespace moe::gpu::grouped {

enum class Gathered { none, a, b };  // which operand

// The lines of a stage that a thread copies: 16 apart, and of each line (of each box of 64 lines) one chunk
// of 16 bytes.
// NT and NN: a line is 64 inner columns of a row, 128 lines, the same rows for all of a tile. TN: a line is
// 64 columns of a row, in boxes, 64 lines each, other rows in each stage. A warp's 16 rows of a stage are
// found by 16 lanes, the other 16 find those of the next stage, and the slots of two more stages are loaded.
template <MatmulLayout layout, Gathered gathered, int rows, int columns>
class TokenRows {
 public:
  static constexpr bool kInnerLines = layout != MatmulLayout::TN;
  static constexpr int kLines = kInnerLines ? rows : kLine, kCount = kLines / 16;
  static constexpr int kBoxes = kInnerLines ? 1 : (gathered == Gathered::a ? rows : columns) / kLine;

  __device__ __forceinline__ TokenRows(const Product& p, const Tile& tile) {
    if constexpr (gathered == Gathered::none) {
      return;
    } else if constexpr (!kInnerLines) {
      next_ = slot(p, tile, lane_row(), tile.inner);
    } else {
      const int line = static_cast<int>(threadIdx.x) / 8;
      int slots[kCount];
#pragma unroll
      for (int i = 0; i < kCount; ++i) slots[i] = slot(p, tile, line + i * 16, tile.rows);
#pragma unroll
      for (int i = 0; i < kCount; ++i) chunk_[i] = chunk(p, slots[i]);
    }
  }
  // Before copy(): what can be done before the stage is free. All lanes of a warp call it.
  __device__ __forceinline__ void find(const Product& p, const Tile& tile, int k) {
    if constexpr (gathered == Gathered::none || kInnerLines) return;
    const int stage = k / kLine % 2;
    if (stage == 0) {
      found_ = chunk(p, next_);
      next_ = slot(p, tile, k + 2 * kLine + lane_row(), tile.inner);
    }
    const int first = stage * 16 + static_cast<int>(threadIdx.x) % 32 / 8;
#pragma unroll
    for (int i = 0; i < kCount; ++i) chunk_[i] = __shfl_sync(kAllLanes, found_, first + i * 4);
  }
  // The part of the operand that begins at inner index k; zeros for what is past the end. (Any row would do
  // where the epilogue leaves it out, but if many blocks read the same one they wait for each other.)
  __device__ __forceinline__ void copy(unsigned char* lines, const Product& p, const Tile& tile,
                                       int k) const {
    const int first = kInnerLines ? k : gathered == Gathered::a ? tile.a_column : tile.column;
    const bool whole =
        first + kBoxes * kLine <= p.width && (kInnerLines ? rows <= tile.rows : k + kLine <= tile.inner);
    whole ? copy_lines<true>(lines, p, first) : copy_lines<false>(lines, p, first);
  }

 private:
  static constexpr uint32_t kNone = 0xFFFFFFFF;

  // first: the lines' first column. whole: nothing of them is past an end.
  template <bool whole>
  __device__ __forceinline__ void copy_lines(unsigned char* lines, const Product& p, int first) const {
    const int line = static_cast<int>(threadIdx.x) / 8, part = static_cast<int>(threadIdx.x) % 8;
    const int column = first + part * 8;
    unsigned char* const to = lines + line * 128 + (part ^ line % 8) * 16;  // the same swizzle 16 lines on
    // As a number: one multiply-add a row, which the compiler would take apart for a pointer.
    const auto from = reinterpret_cast<uintptr_t>(p.tokens + column);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const bool row_inside = whole || chunk_[i] != kNone;
      const auto* const row =
          reinterpret_cast<const uint16_t*>(from + uint64_t{row_inside ? chunk_[i] : 0} * 16);
#pragma unroll
      for (int box = 0; box < kBoxes; ++box) {
        const bool inside = row_inside && (whole || column + box * kLine < p.width);
        cp_async_16_or_zero(to + box * kBox + i * 16 * 128, row + box * kLine, inside);
      }
    }
  }

  // TN: the row, from k on, whose token the lane finds: lanes 0 to 15 those of the warp's lines of a stage (4
  // lines of every 16), the others of the stage after it.
  __device__ __forceinline__ static int lane_row() {
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
    return lane / 16 * kLine + lane % 16 / 4 * 16 + thread / 32 * 4 + lane % 4;
  }
  // Of the tile's row: -1 past its end.
  __device__ __forceinline__ static int slot(const Product& p, const Tile& tile, int row, int count) {
    return row < count ? p.slot_R[tile.a_row + row] : -1;
  }
  __device__ __forceinline__ static uint32_t chunk(const Product& p, int slot) {
    const uint32_t found =
        p.token_of(static_cast<uint32_t>(max(slot, 0))) * (static_cast<uint32_t>(p.width) / 8);
    return slot < 0 ? kNone : found;
  }

  uint32_t chunk_[kCount];  // of 16 bytes, where the rows of the thread's tokens begin
  int next_;                // TN: a slot, and what has been found of those before
  uint32_t found_;
};

}  // namespace moe::gpu::grouped
