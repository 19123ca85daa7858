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
// NT and NN: a line is 64 inner columns of a row, 128 lines. TN: a line is 64 columns of a row, in boxes, 64
// lines each.
template <MatmulLayout layout, Gathered gathered, int rows, int columns>
class TokenRows {
 public:
  static constexpr bool kInnerLines = layout != MatmulLayout::TN;
  static constexpr int kLines = kInnerLines ? rows : kLine, kCount = kLines / 16;
  static constexpr int kBoxes = kInnerLines ? 1 : (gathered == Gathered::a ? rows : columns) / kLine;

  __device__ __forceinline__ TokenRows(const Product& p, const Tile& tile) {
    if constexpr (gathered == Gathered::none) return;
    load_slots(p, tile.a_row, kInnerLines ? tile.rows : tile.inner);
    if constexpr (kInnerLines) find_chunks(p);
  }
  // Before copy(): what can be done before the stage is free. Slots are loaded a stage ahead.
  __device__ __forceinline__ void find(const Product& p, const Tile& tile, int k) {
    if constexpr (gathered == Gathered::none || kInnerLines) return;
    find_chunks(p);
    load_slots(p, tile.a_row + k + kLine, tile.inner - k - kLine);
  }
  // The part of the operand that begins at inner index k; zeros for what is past the end. (Any row would do
  // where the epilogue leaves it out, but if many blocks read the same one they wait for each other.)
  __device__ __forceinline__ void copy(unsigned char* lines, const Product& p, const Tile& tile,
                                       int k) const {
    const int line = static_cast<int>(threadIdx.x) / 8, part = static_cast<int>(threadIdx.x) % 8;
    const int first = (kInnerLines ? k : gathered == Gathered::a ? tile.a_column : tile.column) + part * 8;
    unsigned char* const to = lines + line * 128 + (part ^ line % 8) * 16;  // the same swizzle 16 lines on
    const uint16_t* const from = p.tokens + first;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const uint16_t* const row = from + uint64_t{chunk_[i]} * 8;
#pragma unroll
      for (int box = 0; box < kBoxes; ++box) {
        const bool inside = inside_[i] && first + box * kLine < p.width;
        cp_async_16_or_zero(to + box * kBox + i * 16 * 128, row + box * kLine, inside);
      }
    }
  }

 private:
  // Of the thread's lines.
  __device__ __forceinline__ void load_slots(const Product& p, int row, int count) {
    const int line = static_cast<int>(threadIdx.x) / 8;
    const int32_t* const slots = p.slot_R + row;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int at = line + i * 16;
      loaded_[i] = at < count;
      slot_[i] = loaded_[i] ? slots[at] : 0;
    }
  }
  __device__ __forceinline__ void find_chunks(const Product& p) {
    const auto chunks = static_cast<uint32_t>(p.width) / 8;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      inside_[i] = loaded_[i];
      chunk_[i] = p.token_of(static_cast<uint32_t>(slot_[i])) * chunks;
    }
  }
  int slot_[kCount];
  uint32_t chunk_[kCount];  // of 16 bytes, where the token's row begins
  bool loaded_[kCount], inside_[kCount];
};

}  // namespace moe::gpu::grouped
