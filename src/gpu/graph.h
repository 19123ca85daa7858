// SPDX-License-Identifier: MIT
// A sequence of operations as one CUDA graph: the GPU starts its hundreds of kernels without the host.
#pragma once

#include <cuda_runtime.h>

#include <functional>

#include "ops/ops.h"

namespace moe::gpu {

class Graph final : public Sequence {
 public:
  explicit Graph(cudaStream_t stream) : stream_(stream) {}
  ~Graph() override;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // The first time calls body, which also lets the libraries choose their algorithms; the second time records what body
  // queues on the stream; from then on replays the record.
  void run(const std::function<void()>& body) override;

 private:
  cudaStream_t stream_;
  bool warm_ = false;
  cudaGraphExec_t recorded_ = nullptr;
};

}  // namespace moe::gpu
