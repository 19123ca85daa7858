// SPDX-License-Identifier: MIT
#include "gpu/graph.h"

#include "gpu/check.h"

namespace moe::gpu {

// Ends a recording that an exception cut short, so that the stream can be used again.
class GraphCapture {
 public:
  explicit GraphCapture(cudaStream_t stream) : stream_(stream) {
    CUDA_CHECK(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
  }
  ~GraphCapture() {
    if (graph_ == nullptr) (void)cudaStreamEndCapture(stream_, &graph_);
    if (graph_ != nullptr) (void)cudaGraphDestroy(graph_);
  }
  GraphCapture(const GraphCapture&) = delete;
  GraphCapture& operator=(const GraphCapture&) = delete;

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

Graph::Graph(cudaStream_t stream) : stream_(stream) {}

Graph::~Graph() {
  clear();
}

void Graph::clear() {
  for (const Part& part : parts_) (void)cudaGraphExecDestroy(part.operations);
  parts_.clear();
}

void Graph::run(const std::function<void()>& body) {
  if (!warm_) {
    body();
    warm_ = true;
    return;
  }
  if (parts_.empty()) record(body);
  for (const Part& part : parts_) {
    CUDA_CHECK(cudaGraphLaunch(part.operations, stream_));
    if (part.work) part.work();
  }
}

void Graph::record(const std::function<void()>& body) {
  try {
    capture_ = std::make_unique<GraphCapture>(stream_);
    body();
    parts_.push_back({capture_->finish(), {}});
    capture_.reset();
  } catch (...) {
    capture_.reset();
    clear();
    throw;
  }
}

void Graph::host_callback(const std::function<void()>& work) {
  if (!capture_) return work();
  parts_.push_back({capture_->finish(), work});
  capture_ = std::make_unique<GraphCapture>(stream_);
}

}  // namespace moe::gpu
