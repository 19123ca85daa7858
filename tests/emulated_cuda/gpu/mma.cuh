// SPDX-License-Identifier: MIT
// Stands for src/gpu/mma.cuh in the emulated build: the same functions with the same layouts. A copy into
// shared memory happens only at the wait for it, so a wait that is missing shows.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <type_traits>
#include <vector>

#include "emulated_cuda/cuda_bf16.h"
#include "emulated_cuda/cuda_fp16.h"
#include "emulated_cuda/cuda_runtime.h"

namespace moe::gpu {

namespace emulation {

template <class T>
float half_as_float(uint32_t pair, unsigned half) {
  const auto bits = static_cast<uint16_t>(pair >> (16 * half));
  if constexpr (std::is_same_v<T, __half>)
    return __half2float({bits});
  else
    return __bfloat162float({bits});
}

inline void require_aligned(const void* address, const char* what) {
  if (reinterpret_cast<uintptr_t>(address) % 16 == 0) return;
  std::fprintf(stderr, "emulated CUDA: the address of %s is not a multiple of 16\n", what);
  std::abort();
}

struct Copy {
  void* to;
  const void* from;
  int bytes;
};
struct Copies {
  std::vector<Copy> open;                // since the last commit
  std::deque<std::vector<Copy>> groups;  // oldest first
};
inline Copies& copies_of_thread() {
  static thread_local std::vector<Copies> all(1024);
  return all[threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)];
}

}  // namespace emulation

template <class T>
void mma_16x8x16(float (&c)[4], const uint32_t (&a)[4], const uint32_t* b) {
  struct Operands {
    uint32_t a[4], b[2];
  };
  const Operands own{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const unsigned char* slots = emulated_cuda::warp_exchange(0xffffffffU, &own, sizeof(own));
  const unsigned g = emulated_cuda::lane() / 4, t = emulated_cuda::lane() % 4;
  float left[2][16], right[2][16];  // rows g, g + 8 of a and columns 2t, 2t + 1 of b
  for (unsigned j = 0; j < 4; ++j) {
    const auto row = emulated_cuda::from_lane<Operands>(slots, 4 * g + j);
    for (unsigned half = 0; half < 2; ++half)
      for (unsigned i = 0; i < 4; ++i)
        left[i % 2][8 * (i / 2) + 2 * j + half] = emulation::half_as_float<T>(row.a[i], half);
    for (unsigned column = 0; column < 2; ++column) {
      const auto other = emulated_cuda::from_lane<Operands>(slots, 4 * (2 * t + column) + j);
      for (unsigned half = 0; half < 2; ++half)
        for (unsigned i = 0; i < 2; ++i)
          right[column][8 * i + 2 * j + half] = emulation::half_as_float<T>(other.b[i], half);
    }
  }
  for (unsigned i = 0; i < 4; ++i)
    for (unsigned k = 0; k < 16; ++k) c[i] += left[i / 2][k] * right[i % 2][k];
}

// Half of the last bit that stays is added, then the rest cut off: ties go away from zero.
inline uint32_t to_tf32(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return std::isfinite(x) ? (bits + 0x1000U) & ~0x1FFFU : bits;
}

inline void mma_16x8x8_tf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  struct Operands {
    uint32_t a[4], b[2];
  };
  const Operands own{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const unsigned char* slots = emulated_cuda::warp_exchange(0xffffffffU, &own, sizeof(own));
  const unsigned g = emulated_cuda::lane() / 4, t = emulated_cuda::lane() % 4;
  const auto number = [](uint32_t bits) {
    return std::bit_cast<float>(bits & ~0x1FFFU);
  };  // lower bits are not read
  for (unsigned j = 0; j < 4; ++j) {
    const auto row = emulated_cuda::from_lane<Operands>(slots, 4 * g + j);
    for (unsigned column = 0; column < 2; ++column) {
      const auto other = emulated_cuda::from_lane<Operands>(slots, 4 * (2 * t + column) + j);
      for (unsigned half = 0; half < 2; ++half)
        for (unsigned i = 0; i < 2; ++i)
          c[2 * i + column] += number(row.a[2 * half + i]) * number(other.b[half]);
    }
  }
}

template <class T>
uint32_t pack(float low, float high) {
  if constexpr (std::is_same_v<T, __half>)
    return std::bit_cast<uint32_t>(__floats2half2_rn(low, high));
  else
    return std::bit_cast<uint32_t>(__floats2bfloat162_rn(low, high));
}

template <bool transposed>
void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  emulation::require_aligned(row, "a row for ldmatrix");
  const unsigned char* slots = emulated_cuda::warp_exchange(0xffffffffU, row, 16);
  const unsigned g = emulated_cuda::lane() / 4, t = emulated_cuda::lane() % 4;
  const auto element = [&](unsigned matrix, unsigned i, unsigned j) -> uint32_t {
    uint16_t bits;
    std::memcpy(&bits, slots + size_t{64} * (8 * matrix + i) + 2 * j, sizeof(bits));
    return bits;
  };
  for (unsigned i = 0; i < 4; ++i)
    r[i] = transposed ? element(i, 2 * t, g) | element(i, 2 * t + 1, g) << 16
                      : element(i, g, 2 * t) | element(i, g, 2 * t + 1) << 16;
}

inline void cp_async_16(void* shared, const void* global, int bytes) {
  emulation::require_aligned(shared, "a copy's destination");
  if (bytes > 0) emulation::require_aligned(global, "a copy's source");
  emulation::copies_of_thread().open.push_back({shared, global, bytes});
}
inline void cp_async_16_or_zero(void* shared, const void* global, bool take) {
  cp_async_16(shared, global, take ? 16 : 0);
}
inline void cp_async_commit() {
  emulation::Copies& copies = emulation::copies_of_thread();
  copies.groups.push_back(std::move(copies.open));
  copies.open.clear();
}
template <int newest>
void cp_async_wait() {
  auto& groups = emulation::copies_of_thread().groups;
  for (; groups.size() > static_cast<size_t>(newest); groups.pop_front())
    for (const emulation::Copy& copy : groups.front()) {
      if (copy.bytes > 0) std::memcpy(copy.to, copy.from, static_cast<size_t>(copy.bytes));
      std::memset(static_cast<char*>(copy.to) + copy.bytes, 0, static_cast<size_t>(16 - copy.bytes));
    }
}

inline float exp2_fast(float x) {
  return std::exp2(x);
}

}  // namespace moe::gpu
