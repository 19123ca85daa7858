// SPDX-License-Identifier: MIT
#include "gpu/attention_window.h"

#include "gpu/attention_statistics.cuh"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"

namespace moe::gpu {
namespace {

constexpr int kThreads = 256;

__global__ void first_keys_kernel(int32_t* first_BT, const int32_t* doc_start_BT, int64_t tokens, int length,
                                  int window) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < tokens) first_BT[i] = first_key(doc_start_BT[i], static_cast<int>(i % length), window);
}

}  // namespace

const int32_t* first_keys(cudaStream_t stream, Workspace::Carving memory, const Tensor& doc_start_BT,
                          int64_t window) {
  const auto* const doc_start = pointer<int32_t>(doc_start_BT);
  if (window == 0) return doc_start;
  const int64_t tokens = doc_start_BT.numel();
  auto* const first_BT = memory.take<int32_t>(tokens);
  launch(stream, first_keys_kernel, {blocks(ceil_div(tokens, kThreads)), kThreads}, first_BT, doc_start,
         tokens, static_cast<int>(doc_start_BT.dim(1)), static_cast<int>(window));
  return first_BT;
}

}  // namespace moe::gpu
