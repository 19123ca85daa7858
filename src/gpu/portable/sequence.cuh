// SPDX-License-Identifier: MIT
// The sequence-wise balance loss is linear in the probabilities: its slopes, for the loss and its gradient.
#pragma once

#include <cstdint>

#include "gpu/block_reduce.cuh"
#include "gpu/dynamic_shared.cuh"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"
#include "gpu/workspace.h"

namespace moe::gpu {

inline constexpr int kSequenceThreads = 256;

// Of a row's choices and tokens, padding left out. A block for each row.
static __global__ void sequence_counts_kernel(int* count_BE, int* tokens_B, const int32_t* expert_NK,
                                              const int32_t* doc_start_BT, int64_t T, int experts,
                                              int choices) {
  int* const counts = dynamic_shared<int>();
  for (int e = static_cast<int>(threadIdx.x); e < experts; e += kSequenceThreads) counts[e] = 0;
  __syncthreads();
  const int64_t row = blockIdx.x;
  const int32_t *const first = doc_start_BT + row * T, *const chosen = expert_NK + row * T * choices;
  int tokens = 0;
  for (int64_t t = threadIdx.x; t < T; t += kSequenceThreads) tokens += first[t] >= 0 ? 1 : 0;
  for (int64_t i = threadIdx.x; i < T * choices; i += kSequenceThreads)
    if (chosen[i] >= 0) atomicAdd(counts + chosen[i], 1);
  tokens = block_sum(tokens);  // with a barrier
  if (threadIdx.x == 0) tokens_B[row] = tokens;
  for (int e = static_cast<int>(threadIdx.x); e < experts; e += kSequenceThreads)
    count_BE[row * experts + e] = counts[e];
}

// A block for each row.
static __global__ void sequence_slopes_kernel(float* slope_BE, const int* count_BE, const int* tokens_B,
                                              int64_t rows, int experts, int choices) {
  int live = 0;  // rows with tokens
  for (int64_t b = threadIdx.x; b < rows; b += kSequenceThreads) live += tokens_B[b] > 0 ? 1 : 0;
  live = max(1, block_sum(live));
  const double tokens = max(1, tokens_B[blockIdx.x]);
  const double factor = experts / (static_cast<double>(choices) * live * tokens * tokens);
  const int64_t begin = int64_t{blockIdx.x} * experts;
  for (int e = static_cast<int>(threadIdx.x); e < experts; e += kSequenceThreads)
    slope_BE[begin + e] = static_cast<float>(count_BE[begin + e] * factor);
}

// slope_BE[b, e] = d(SequenceLoss) / d(probability_NE[n, e]), the same for all tokens n of row b that are not
// padding; in the workspace.
inline const float* sequence_slopes(cudaStream_t stream, Workspace::Carving& carving, const Tensor& expert_NK,
                                    const Tensor& doc_start_BT, int64_t experts) {
  const int64_t B = doc_start_BT.dim(0), T = doc_start_BT.dim(1);
  const int E = static_cast<int>(experts), K = static_cast<int>(expert_NK.dim(1));
  float* const slope_BE = carving.take<float>(B * experts);
  int* const count_BE = carving.take<int>(B * experts);
  int* const tokens_B = carving.take<int>(B);
  launch(stream, sequence_counts_kernel,
         {blocks(B), kSequenceThreads, static_cast<size_t>(experts) * sizeof(int)}, count_BE, tokens_B,
         pointer<int32_t>(expert_NK), pointer<int32_t>(doc_start_BT), T, E, K);
  launch(stream, sequence_slopes_kernel, {blocks(B), kSequenceThreads}, slope_BE, count_BE, tokens_B, B, E,
         K);
  return slope_BE;
}

}  // namespace moe::gpu
