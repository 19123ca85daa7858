// SPDX-License-Identifier: MIT
// Stands for src/gpu/sm90/wgmma.cuh in the emulated build: the same descriptors, read as the hardware reads
// them. Each thread computes its own elements at once.
#pragma once

#include <cstdint>
#include <cstring>

#include "gpu/numbers.cuh"
#include "gpu/sm90/wgmma_operands.cuh"

namespace moe::gpu {

inline void wgmma_fence() {}
inline void wgmma_commit() {}
template <int pending>
void wgmma_wait() {}
inline void compute_now(float (&)[32]) {}
inline void compute_now(float4&) {}

// Inner indices of a piece: 32 bytes of them.
template <class T>
inline constexpr uint32_t kDepth = 32 / sizeof(T);
inline float to_float(e4m3 x) {
  return static_cast<float>(x);
}

// Element (row or column i, k) of an operand.
template <class T>
float wgmma_element(uint64_t descriptor, bool columns, uint32_t i, uint32_t k) {
  const auto start = static_cast<uint32_t>(descriptor & 0x3FFF) << 4;
  const auto leading = static_cast<uint32_t>(descriptor >> 16 & 0x3FFF) << 4;
  const auto stride = static_cast<uint32_t>(descriptor >> 32 & 0x3FFF) << 4;
  const uint32_t address = columns ? start + i % 64 * 2 + i / 64 * leading + k % 8 * 128 + k / 8 * stride
                                   : start + i % 8 * 128 + i / 8 * stride + k * uint32_t{sizeof(T)};
  T value;
  std::memcpy(&value, static_cast<const char*>(emulated_cuda::dynamic_shared_memory()) + swizzled(address),
              sizeof(value));
  return to_float(value);
}

template <class T, int a_columns, int b_columns, int count>
void wgmma(float (&d)[count], uint64_t a, uint64_t b, bool accumulate) {
  static_assert(sizeof(T) == 2 || (a_columns == 0 && b_columns == 0), "operands of FP8 lie in rows");
  const uint32_t thread = threadIdx.x % 128, lane = thread % 32;
  for (uint32_t j = 0; j < count / 4; ++j)
    for (uint32_t c = 0; c < 2; ++c) {
      float column[kDepth<T>];
      for (uint32_t k = 0; k < kDepth<T>; ++k)
        column[k] = wgmma_element<T>(b, b_columns == 1, 8 * j + 2 * (lane % 4) + c, k);
      for (uint32_t i = 0; i < 2; ++i) {
        float& sum = d[4 * j + 2 * i + c];
        if (!accumulate) sum = 0;
        for (uint32_t k = 0; k < kDepth<T>; ++k)
          sum += wgmma_element<T>(a, a_columns == 1, 16 * (thread / 32) + lane / 4 + 8 * i, k) * column[k];
      }
    }
}

template <class T, int a_columns, int b_columns, int count>
void wgmma_first(float (&d)[count], uint64_t a, uint64_t b) {
  wgmma<T, a_columns, b_columns>(d, a, b, false);
}

template <class T, int b_columns, int count>
void wgmma_registers(float (&d)[count], const uint32_t (&a)[4], uint64_t b) {
  const uint32_t lane = threadIdx.x % 32;
  const unsigned char* const deposits = emulated_cuda::warp_exchange(0xffffffffU, a, sizeof(a));
  float rows[2][16];
  for (uint32_t i = 0; i < 2; ++i)
    for (uint32_t k = 0; k < 16; ++k) {
      uint32_t pair[4];
      std::memcpy(pair, deposits + size_t{64} * (lane / 4 * 4 + k % 8 / 2), sizeof(pair));
      T elements[2];
      std::memcpy(elements, &pair[k / 8 * 2 + i], sizeof(elements));
      rows[i][k] = to_float(elements[k % 2]);
    }
  for (uint32_t j = 0; j < count / 4; ++j)
    for (uint32_t c = 0; c < 2; ++c) {
      float column[16];
      for (uint32_t k = 0; k < 16; ++k)
        column[k] = wgmma_element<T>(b, b_columns == 1, 8 * j + 2 * (lane % 4) + c, k);
      for (uint32_t i = 0; i < 2; ++i) {
        float& sum = d[4 * j + 2 * i + c];
        for (uint32_t k = 0; k < 16; ++k) sum += rows[i][k] * column[k];
      }
    }
}

template <class T, int b_columns, int count>
void wgmma_registers_first(float (&d)[count], const uint32_t (&a)[4], uint64_t b) {
  for (float& x : d) x = 0;
  wgmma_registers<T, b_columns>(d, a, b);
}

}  // namespace moe::gpu
