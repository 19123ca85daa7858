// SPDX-License-Identifier: MIT
// A sequence of operations as a CUDA graph: the GPU starts its hundreds of kernels without the host. What is
// to be done between them by the host cuts it into several graphs.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <memory>
#include <vector>

#include "ops/ops.h"

namespace moe::gpu {

class GraphCapture;

class Graph final : public CapturedRegion {
 public:
  explicit Graph(cudaStream_t stream);
  ~Graph() override;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // The first time calls body, which also lets the libraries choose their algorithms; the second time records
  // what body queues on the stream; from then on replays the record.
  void run(const std::function<void()>& body) override;
  void host_callback(const std::function<void()>& work) override;

 private:
  // A stretch of operations, and what comes behind it.
  struct Part {
    cudaGraphExec_t operations = nullptr;
    std::function<void()> work;
  };

  void record(const std::function<void()>& body);
  void clear();

  cudaStream_t stream_;
  bool warm_ = false;
  std::unique_ptr<GraphCapture> capture_;  // the stretch that is being recorded
  std::vector<Part> parts_;
};

}  // namespace moe::gpu
