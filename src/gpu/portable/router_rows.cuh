// SPDX-License-Identifier: MIT
// Eight lanes a token of the router, and where they find its logits and leave their gradients: in memory as
// f32, or as the parts that the matrix units make and take (router_products.cuh).
#pragma once

#include <cstdint>

#include "gpu/dynamic_shared.cuh"
#include "gpu/numbers.cuh"
#include "gpu/portable/split_parts.cuh"

namespace moe::gpu {

inline constexpr int kLanes = 8;    // of a token: a warp sums over four rows at once
inline constexpr int kTokens = 32;  // of a block
inline constexpr int kRowPad = 8;   // floats behind a token's: a warp's four tokens lie in other banks

// The lanes' token. Past the last one they compute that again, so that a warp stays together, and store
// nothing.
struct TokenOfLanes {
  int64_t row;
  int lane;
  bool inside, padding;

  __device__ TokenOfLanes(const int32_t* doc_start_N, int64_t n)
      : row(int64_t{blockIdx.x} * kTokens + threadIdx.x / kLanes),
        lane(static_cast<int>(threadIdx.x) % kLanes),
        inside(row < n) {
    row = min(row, n - 1);
    padding = doc_start_N[row] < 0;
  }
};

// Where a block finds its tokens' logits: in memory,
struct LogitsInMemory {
  const float* logits_NE;

  __device__ const float* row_of(const TokenOfLanes& token, int64_t, int experts) const {
    return logits_NE + token.row * experts;
  }
};

// or as the three parts of the product, of which it makes their sums in shared memory, and in logits_NE
// unless that is null.
template <class T>
struct LogitsInParts {
  const float* parts_N3E;
  float* logits_NE;

  __device__ const float* row_of(const TokenOfLanes&, int64_t n, int experts) const {
    float* const sums = dynamic_shared<float>();
    for (int i = static_cast<int>(threadIdx.x); i < kTokens * experts / 4; i += kTokens * kLanes) {
      const int token = 4 * i / experts, e = 4 * i % experts;
      const int64_t row = min(int64_t{blockIdx.x} * kTokens + token, n - 1);
      const auto sum = sum_of_parts<T>(parts_N3E + row * kParts * experts + e, experts);
      store(sums + token * (experts + kRowPad) + e, sum);
      if (logits_NE != nullptr) store(logits_NE + row * experts + e, sum);
    }
    __syncthreads();
    return sums + static_cast<int>(threadIdx.x) / kLanes * (experts + kRowPad);
  }
};

// Where a block leaves its tokens' gradients: in memory,
struct GradientsInMemory {
  float* dlogits_NE;

  __device__ float* row_of(const TokenOfLanes& token, int experts) const {
    return dlogits_NE + token.row * experts;
  }
  __device__ void finish(int64_t, int) const {}
};

// or as the three parts that the products take.
template <class T>
struct GradientsInParts {
  T* parts_N3E;

  __device__ float* row_of(const TokenOfLanes&, int experts) const {
    return dynamic_shared<float>() + static_cast<int>(threadIdx.x) / kLanes * (experts + kRowPad);
  }
  __device__ void finish(int64_t n, int experts) const {
    __syncthreads();
    const float* const rows = dynamic_shared<float>();
    for (int i = static_cast<int>(threadIdx.x); i < kTokens * experts / 4; i += kTokens * kLanes) {
      const int token = 4 * i / experts, e = 4 * i % experts;
      const int64_t row = int64_t{blockIdx.x} * kTokens + token;
      if (row >= n) return;
      store_parts<T>(parts_N3E + row * kParts * experts + e, experts,
                     load<4>(rows + token * (experts + kRowPad) + e));
    }
  }
};

}  // namespace moe::gpu
