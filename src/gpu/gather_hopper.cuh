// SPDX-License-Identifier: MIT
// An operand whose rows are those of tokens, in the order of the routed rows, brought into a stage of shared memory by a
// warpgroup, 16 bytes a copy: so no gathered copy of it is kept in memory. It lies as the copy engine would leave it, in
// lines of 128 bytes swizzled by 8 lines.
#pragma once

#include "gpu/grouped_tile_hopper.cuh"
#include "gpu/hopper.cuh"
#include "gpu/mma.cuh"

namespace moe::gpu::grouped {

enum class Gathered { none, a, b };  // which operand

// Hands over stages whose copies by this thread are done, in order, while up to `ahead` younger ones are under way.
template <int stages, int ahead>
class Lagging {
 public:
  // The copies of a stage have been started.
  __device__ __forceinline__ void add(Barrier* full) {
    cp_async_commit();
    if (++started_ <= ahead) return;
    cp_async_wait<ahead>();
    fence_async_proxy();
    arrive(full);
  }
  // All of them, each as soon as its copies are done.
  __device__ __forceinline__ void flush(Barrier* full) { hand_over<ahead - 1>(full); }

 private:
  template <int younger>
  __device__ __forceinline__ void hand_over(Barrier* full) {
    if (started_ > younger) {
      cp_async_wait<younger>();
      fence_async_proxy();
      arrive(full);
    }
    if constexpr (younger > 0) hand_over<younger - 1>(full);
  }
  __device__ __forceinline__ void arrive(Barrier* full) {
    barrier_arrive(&full[walk_.stage]);
    walk_.next();
    --started_;
  }
  Walk<stages> walk_;
  int started_ = 0;
};

// The lines of a stage that a thread copies: 16 apart, and of each line (of each box of 64 lines) one chunk of 16 bytes.
// NT and NN: a line is 64 inner columns of a row, 128 lines. TN: a line is 64 columns of a row, in boxes, 64 lines each.
template <Form form, Gathered gathered, int rows, int columns>
class TokenRows {
 public:
  static constexpr bool kInnerLines = form != Form::TN;
  static constexpr int kLines = kInnerLines ? rows : kLine, kCount = kLines / 16;
  static constexpr int kBoxes = kInnerLines ? 1 : (gathered == Gathered::a ? rows : columns) / kLine;

  __device__ __forceinline__ TokenRows(const Product& p, const Tile& tile) {
    if constexpr (gathered == Gathered::none) return;
    load_slots(p, tile.a_row, kInnerLines ? tile.rows : tile.inner);
    if constexpr (kInnerLines) find_tokens(p);
  }
  // Before copy(): what can be done before the stage is free. Slots are loaded a stage ahead.
  __device__ __forceinline__ void find(const Product& p, const Tile& tile, int k) {
    if constexpr (gathered == Gathered::none || kInnerLines) return;
    find_tokens(p);
    load_slots(p, tile.a_row + k + kLine, tile.inner - k - kLine);
  }
  // The part of the operand that begins at inner index k.
  __device__ __forceinline__ void copy(unsigned char* lines, const Product& p, const Tile& tile,
                                       int k) const {
    const int line = static_cast<int>(threadIdx.x) / 8, part = static_cast<int>(threadIdx.x) % 8;
    const int first = (kInnerLines ? k : gathered == Gathered::a ? tile.a_column : tile.column) + part * 8;
    unsigned char* const to = lines + line * 128 + (part ^ line % 8) * 16;  // the same swizzle 16 lines on
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const bf16* const row = p.tokens + int64_t{max(token_[i], 0)} * p.width;
#pragma unroll
      for (int box = 0; box < kBoxes; ++box) {
        const int column = first + box * kLine;
        const bool inside = token_[i] >= 0 && column < p.width;
        cp_async_16(to + box * kBox + i * 16 * 128, inside ? row + column : p.tokens, inside ? 16 : 0);
      }
    }
  }

 private:
  // Of the thread's lines; past `count` rows none, which copies as zeros.
  __device__ __forceinline__ void load_slots(const Product& p, int row, int count) {
    const int line = static_cast<int>(threadIdx.x) / 8;
#pragma unroll
    for (int i = 0; i < kCount; ++i) slot_[i] = line + i * 16 < count ? p.slot_R[row + line + i * 16] : -1;
  }
  __device__ __forceinline__ void find_tokens(const Product& p) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) token_[i] = slot_[i] < 0 ? -1 : slot_[i] / p.choices;
  }
  int slot_[kCount];
  int token_[kCount];
};

}  // namespace moe::gpu::grouped
