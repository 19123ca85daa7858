// SPDX-License-Identifier: MIT
// Memory on the GPU for what an operation needs between its kernels: partial sums, sorted indices. Each
// operation carves it anew, since operations follow each other on one stream. A block of fixed size is there
// from the start. An operation that needs more, for a very large micro-batch, gets further blocks when it
// first runs; they stay, so that it finds the same addresses from then on, as a recorded graph must.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "gpu/check.h"
#include "gpu/gpu_device.h"

namespace moe::gpu {

class Workspace {
 public:
  // bytes: of the first block, and at least of each other one.
  Workspace(GpuDevice& device, int64_t bytes) : device_(device), bytes_(bytes) { add_block(bytes); }
  ~Workspace() {
    for (const Block& block : blocks_) device_.release(block.begin);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // What one operation carves, from the start of the first block. Contents are unspecified.
  class Carving {
   public:
    explicit Carving(const Workspace& workspace) : workspace_(workspace) {}
    // UserError where the GPU has no memory for it.
    template <class T>
    T* take(int64_t count) {
      const int64_t bytes =
          (count * static_cast<int64_t>(sizeof(T)) + kAlignment - 1) / kAlignment * kAlignment;
      const std::vector<Block>& blocks = workspace_.blocks_;
      for (; block_ < blocks.size() && taken_ + bytes > blocks[block_].bytes; ++block_) taken_ = 0;
      if (block_ == blocks.size()) workspace_.add_block(bytes);
      char* const begin = blocks[block_].begin + taken_;
      taken_ += bytes;
      return reinterpret_cast<T*>(begin);
    }

   private:
    static constexpr int64_t kAlignment = 256;
    const Workspace& workspace_;
    size_t block_ = 0;
    int64_t taken_ = 0;  // of the block
  };
  Carving carve() const { return Carving(*this); }
  int64_t bytes() const { return bytes_; }  // that are always there

 private:
  struct Block {
    char* begin = nullptr;
    int64_t bytes = 0;
  };

  void add_block(int64_t least) const {
    Block block{nullptr, std::max(least, bytes_)};
    CUDA_CHECK(cudaMalloc(reinterpret_cast<void**>(&block.begin), static_cast<size_t>(block.bytes)));
    blocks_.push_back(block);
  }

  GpuDevice& device_;
  int64_t bytes_;
  mutable std::vector<Block> blocks_;  // nobody can tell when one was added
};

}  // namespace moe::gpu
