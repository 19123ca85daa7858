// SPDX-License-Identifier: MIT
// Memory on the GPU for what an operation needs between its kernels: partial sums, sorted indices. One block
// of fixed size, taken once; each operation carves it anew, since operations follow each other on one stream.
#pragma once

#include <cstdint>

#include "base/error.h"
#include "gpu/check.h"
#include "gpu/gpu_device.h"

namespace moe::gpu {

class Workspace {
 public:
  Workspace(GpuDevice& device, int64_t bytes) : device_(device), bytes_(bytes) {
    CUDA_CHECK(cudaMalloc(reinterpret_cast<void**>(&base_), static_cast<size_t>(bytes)));
  }
  ~Workspace() { device_.release(base_); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // What one operation carves, from the start of the block. Contents are unspecified.
  class Carving {
   public:
    explicit Carving(const Workspace& workspace) : workspace_(workspace) {}
    template <class T>
    T* take(int64_t count) {
      char* const begin = workspace_.base_ + taken_;
      taken_ += (count * static_cast<int64_t>(sizeof(T)) + kAlignment - 1) / kAlignment * kAlignment;
      CHECK(taken_ <= workspace_.bytes_, "the GPU workspace is too small: " + std::to_string(taken_));
      return reinterpret_cast<T*>(begin);
    }

   private:
    static constexpr int64_t kAlignment = 256;
    const Workspace& workspace_;
    int64_t taken_ = 0;
  };
  Carving carve() const { return Carving(*this); }
  int64_t bytes() const { return bytes_; }

 private:
  GpuDevice& device_;
  int64_t bytes_;
  char* base_ = nullptr;
};

}  // namespace moe::gpu
