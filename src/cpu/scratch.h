// SPDX-License-Identifier: MIT
// Working memory for the bodies of parallel_for: a few blocks that only grow, so that a training step
// allocates nothing after its first time through. A body borrows a block, carves it, and gives it back by
// leaving scope.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/error.h"

namespace moe::cpu {

class Scratch {
 public:
  static constexpr int64_t kAlignment = 64;  // one cache line, one AVX-512 register

  // Enough blocks for every thread to hold one while the driving thread holds a few of its own.
  explicit Scratch(int threads) : blocks_(static_cast<size_t>(threads) + kExtra) {}

  // A borrowed block. Its contents are unspecified.
  class Lease {
   public:
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() { block_.used.clear(std::memory_order_release); }

    // The next `count` elements of T, aligned to kAlignment.
    template <class T>
    T* take(int64_t count) {
      T* memory = reinterpret_cast<T*>(block_.memory.get() + taken_);
      taken_ += padded<T>(count);
      CHECK(taken_ <= block_.bytes, "scratch block is too small");
      return memory;
    }

   private:
    friend class Scratch;
    struct Free {
      void operator()(char* memory) const { std::free(memory); }
    };
    struct Block {
      std::atomic_flag used;
      std::unique_ptr<char, Free> memory;
      int64_t bytes = 0;
    };
    explicit Lease(Block& block) : block_(block) {}
    Block& block_;
    int64_t taken_ = 0;
  };

  // Bytes that take<T>(count) uses of a block.
  template <class T>
  static constexpr int64_t padded(int64_t count) {
    const int64_t bytes = count * static_cast<int64_t>(sizeof(T));
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }

  // A free block of at least `bytes`; safe from any thread.
  Lease borrow(int64_t bytes) {
    for (auto& block : blocks_) {
      if (block.used.test_and_set(std::memory_order_acquire)) continue;
      if (block.bytes < bytes) {
        const int64_t size = padded<char>(bytes);
        block.memory.reset(static_cast<char*>(std::aligned_alloc(kAlignment, static_cast<size_t>(size))));
        CHECK(block.memory != nullptr, "out of memory");
        block.bytes = size;
      }
      return Lease(block);
    }
    fail_check(__FILE__, __LINE__, "a free scratch block", "more leases than threads");
  }

 private:
  static constexpr size_t kExtra = 4;
  std::vector<Lease::Block> blocks_;
};

}  // namespace moe::cpu
