// SPDX-License-Identifier: MIT
// Stands for src/gpu/sm90/sm90.cuh in the emulated build. Copies are done when they are asked for; barriers
// count as Hopper's do, and a thread that waits lets the others run.
#pragma once

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "emulated_cuda/cuda.h"
#include "emulated_cuda/cuda_runtime.h"
#include "gpu/mma.cuh"

#define __grid_constant__

namespace moe::gpu {

struct Barrier {
  int arrivals, pending;  // for a phase, and those still to come
  int bytes;              // of copies still to come
  uint32_t phase;
};

inline uint32_t shared_pointer(const void* p) {
  return static_cast<uint32_t>(static_cast<const char*>(p) -
                               static_cast<const char*>(emulated_cuda::dynamic_shared_memory()));
}

inline void barrier_init(Barrier* barrier, uint32_t arrivals) {
  *barrier = {static_cast<int>(arrivals), static_cast<int>(arrivals), 0, 0};
}
inline void fence_barriers() {}
inline void barrier_progress(Barrier* barrier) {
  if (barrier->pending > 0 || barrier->bytes > 0) return;
  barrier->pending = barrier->arrivals;
  ++barrier->phase;
}
inline void barrier_arrive(Barrier* barrier) {
  --barrier->pending;
  barrier_progress(barrier);
}
inline void barrier_arrive_expect(Barrier* barrier, uint32_t bytes) {
  barrier->bytes += static_cast<int>(bytes);
  barrier_arrive(barrier);
}
inline void barrier_arrive_after_copies(Barrier* barrier) {
  cp_async_commit();
  cp_async_wait<0>();
  barrier_arrive(barrier);
}
inline void barrier_wait(Barrier* barrier, uint32_t parity) {
  while (barrier->phase % 2 == parity) emulated_cuda::poll();
}

// Bytes [4, 7) of an address are mixed with bytes [7, 10), as the 128-byte swizzle does.
inline uint32_t swizzled(uint32_t address) {
  return address ^ (address >> 7 & 7) << 4;
}

inline void tma_load(void* to, const CUtensorMap* map, Barrier* barrier, int32_t x, int32_t y) {
  auto* const shared = static_cast<unsigned char*>(emulated_cuda::dynamic_shared_memory());
  const uint32_t first = shared_pointer(to);
  for (uint32_t row = 0; row < map->box_rows; ++row)
    for (uint32_t column = 0; column < map->box_columns; ++column) {
      const int64_t from_row = y + int64_t{row}, from_column = x + int64_t{column};
      const bool inside = from_row >= 0 && from_row < static_cast<int64_t>(map->rows) && from_column >= 0 &&
                          from_column < static_cast<int64_t>(map->columns);
      unsigned char* const cell = shared + swizzled(first + row * 128 + column * 2);
      if (inside)
        std::memcpy(cell, map->matrix + static_cast<uint64_t>(from_row) * map->row_bytes + from_column * 2,
                    2);
      else
        std::memset(cell, 0, 2);
    }
  barrier->bytes -= static_cast<int>(map->box_rows * map->box_columns * 2);
  barrier_progress(barrier);
}
inline void bulk_load(void* to, const void* from, uint32_t bytes, Barrier* barrier) {
  const bool aligned = bytes % 16 == 0 && reinterpret_cast<uintptr_t>(from) % 16 == 0;
  if (!aligned || shared_pointer(to) % 16 != 0) __trap();
  std::memcpy(to, from, bytes);
  barrier->bytes -= static_cast<int>(bytes);
  barrier_progress(barrier);
}
// write(place in memory, cell in shared memory) for each element of the box that lies inside.
template <class Write>
void each_stored(const CUtensorMap* map, const void* from, int32_t x, int32_t y, int32_t z,
                 const Write& write) {
  auto* const shared = static_cast<unsigned char*>(emulated_cuda::dynamic_shared_memory());
  const uint32_t first = shared_pointer(from), bytes = map->element_bytes;
  if (first % 1024 != 0) __trap();  // a box begins with a group of 8 lines
  auto* const matrix = const_cast<unsigned char*>(map->matrix) + static_cast<uint64_t>(z) * map->matrix_bytes;
  for (uint32_t row = 0; row < map->box_rows; ++row)
    for (uint32_t column = 0; column < map->box_columns; ++column) {
      const int64_t to_row = y + int64_t{row}, to_column = x + int64_t{column};
      const bool inside = to_row >= 0 && to_row < static_cast<int64_t>(map->rows) && to_column >= 0 &&
                          to_column < static_cast<int64_t>(map->columns);
      if (inside)
        write(matrix + static_cast<uint64_t>(to_row) * map->row_bytes +
                  static_cast<uint64_t>(to_column) * bytes,
              shared + swizzled(first + row * 128 + column * bytes));
    }
}
inline void tma_store(const CUtensorMap* map, const void* from, int32_t x, int32_t y, int32_t z = 0) {
  each_stored(map, from, x, y, z, [&](unsigned char* to, const unsigned char* cell) {
    std::memcpy(to, cell, map->element_bytes);
  });
}
inline void tma_add(const CUtensorMap* map, const void* from, int32_t x, int32_t y, int32_t z) {
  each_stored(map, from, x, y, z, [](unsigned char* to, const unsigned char* cell) {
    float old, more;
    std::memcpy(&old, to, 4);
    std::memcpy(&more, cell, 4);
    old += more;
    std::memcpy(to, &old, 4);
  });
}
inline void tma_store_commit() {}
template <int pending>
void tma_store_wait_read() {}
inline void fence_async_proxy() {}

inline void store_16(void* p, const uint4& v) {
  if (reinterpret_cast<uintptr_t>(p) % 16 != 0) __trap();
  std::memcpy(p, &v, 16);
}

inline uint32_t multiply_pairs(uint32_t a, uint32_t b) {
  const auto number = [](uint32_t bits) { return std::bit_cast<float>(bits); };
  return pack<bf16>(number(a << 16) * number(b << 16), number(a & 0xffff0000U) * number(b & 0xffff0000U));
}

inline void named_barrier(uint32_t id, uint32_t threads) {
  struct Meeting {
    uint32_t arrived, times;
  };
  static thread_local Meeting meetings[16];
  Meeting& meeting = meetings[id];
  const uint32_t time = meeting.times;
  if (++meeting.arrived == threads) {
    meeting.arrived = 0;
    ++meeting.times;
  }
  while (meeting.times == time) emulated_cuda::poll();
}

template <int count>
void warpgroup_reg_dealloc() {}
template <int count>
void warpgroup_reg_alloc() {}
inline bool elect_one() {
  return emulated_cuda::lane() == 0;
}

}  // namespace moe::gpu
