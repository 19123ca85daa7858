// SPDX-License-Identifier: MIT
// How operands of wgmma lie in shared memory, and the descriptors that say so (PTX ISA 8, section 9.7.15.5).
//
// In lines of 64 elements (128 bytes) as TMA's 128-byte swizzle leaves them, in groups of 8 lines (1,024
// bytes, so aligned). A line holds 64 consecutive k of one row of A or column of B ("rows"), or 64
// consecutive rows of A or columns of B at one k ("columns": what transposed operands need; more than 64 of
// them lie in further boxes). Two numbers of FP8 take the place of one element, in rows alone.
#pragma once

#include <cstdint>

#include "gpu/sm90/sm90.cuh"

namespace moe::gpu {

inline constexpr int kLine = 64;                 // elements
inline constexpr uint32_t kLineGroup = 8 * 128;  // bytes

// The first of the lines that hold k = 0 ... 63 of consecutive rows; k16 counts pieces of 16 k in them.
__device__ __forceinline__ uint64_t rows_descriptor(const void* lines, int k16) {
  const uint64_t address = (shared_pointer(lines) + static_cast<uint32_t>(k16) * 32) >> 4 & 0x3FFF;
  return address | uint64_t{1} << 16 | uint64_t{kLineGroup >> 4} << 32 | uint64_t{1} << 62;
}
// Lines of 64 rows each, one line a k; box_bytes after them come the lines of the next 64 rows.
__device__ __forceinline__ uint64_t columns_descriptor(const void* lines, int k16, uint32_t box_bytes) {
  const uint64_t address =
      (shared_pointer(lines) + static_cast<uint32_t>(k16) * 2 * kLineGroup) >> 4 & 0x3FFF;
  return address | uint64_t{box_bytes >> 4} << 16 | uint64_t{kLineGroup >> 4} << 32 | uint64_t{1} << 62;
}

// The same operand, `bytes` (a multiple of 16) further on in shared memory: one addition instead of a new
// descriptor.
__device__ __forceinline__ uint64_t advanced(uint64_t descriptor, uint32_t bytes) {
  return (descriptor & 0xFFFFFFFF00000000) | (static_cast<uint32_t>(descriptor) + (bytes >> 4));
}

}  // namespace moe::gpu
