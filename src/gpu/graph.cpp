// SPDX-License-Identifier: MIT
#include "gpu/graph.h"

#include "gpu/check.h"

namespace moe::gpu {
namespace {

// Ends a recording that an exception cut short, so that the stream can be used again.
class Recording {
 public:
  explicit Recording(cudaStream_t stream) : stream_(stream) {
    CUDA_CHECK(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
  }
  ~Recording() {
    if (graph_ == nullptr) (void)cudaStreamEndCapture(stream_, &graph_);
    if (graph_ != nullptr) (void)cudaGraphDestroy(graph_);
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  cudaGraphExec_t finish() {
    CUDA_CHECK(cudaStreamEndCapture(stream_, &graph_));
    cudaGraphExec_t result = nullptr;
    CUDA_CHECK(cudaGraphInstantiate(&result, graph_, 0));
    return result;
  }

 private:
  cudaStream_t stream_;
  cudaGraph_t graph_ = nullptr;
};

}  // namespace

Graph::~Graph() {
  if (recorded_ != nullptr) (void)cudaGraphExecDestroy(recorded_);
}

void Graph::run(const std::function<void()>& body) {
  if (!warm_) {
    body();
    warm_ = true;
    return;
  }
  if (recorded_ == nullptr) {
    Recording recording(stream_);
    body();
    recorded_ = recording.finish();
  }
  CUDA_CHECK(cudaGraphLaunch(recorded_, stream_));
}

}  // namespace moe::gpu
