// SPDX-License-Identifier: MIT
#include "emulated_cuda/block.h"

#include <algorithm>
#include <array>
#include <boost/context/fiber.hpp>
#include <boost/context/fixedsize_stack.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

constinit thread_local uint3 threadIdx{}, blockIdx{};
constinit thread_local dim3 blockDim, gridDim;

namespace emulated_cuda {

namespace {

namespace context = boost::context;

constexpr size_t kStackBytes = 128 << 10;
constexpr size_t kSlotBytes = 64;
constexpr int kMostPolls = 1000;

enum class State { ready, polling, block_barrier, warp_barrier, done };

struct Thread {
  context::fiber fiber;  // suspended here while another runs
  State state = State::done;
  unsigned mask = 0;  // of the warp barrier it waits at
  std::array<unsigned char, kSlotBytes> deposit{};
};

// What the lanes of a warp deposited, as of their last exchange. Written at the release of the barrier, when
// all lanes wait; read before the next release. So one copy serves.
using Slots = std::array<std::array<unsigned char, kSlotBytes>, kWarp>;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "emulated CUDA: %s (block %u,%u,%u of %u threads)\n", what, blockIdx.x, blockIdx.y,
               blockIdx.z, blockDim.x * blockDim.y * blockDim.z);
  std::abort();
}

// The fibres of one host thread, kept between blocks.
class Block {
 public:
  void run(const std::function<void()>& kernel, size_t shared_bytes) {
    kernel_ = &kernel;
    shared_.assign(shared_bytes / sizeof(Line) + 1, Line{});
    std::memset(static_cast<void*>(shared_.data()), 0xFF, shared_.size() * sizeof(Line));  // NaN as any float
    const size_t count = size_t{blockDim.x} * blockDim.y * blockDim.z;
    if (count == 0 || count > 1024) fail("a block has 1 to 1024 threads");
    while (threads_.size() < count) add_thread();
    live_ = count;
    slots_.resize((count + kWarp - 1) / kWarp);
    for (size_t i = 0; i < count; ++i) threads_[i]->state = State::ready;
    bool forward = true;
    int idle = 0;  // rounds in which nobody did more than ask
    while (!finished()) {
      bool moved = false;
      for (size_t k = 0; k < count; ++k) {
        const size_t i = forward ? k : count - 1 - k;
        const State before = threads_[i]->state;
        if (before != State::ready && before != State::polling) continue;
        resume(i);
        moved |= before == State::ready || threads_[i]->state != State::polling;
      }
      forward = !forward;
      moved |= release_warps() || release_block();
      idle = moved ? 0 : idle + 1;
      if (idle > (polling() ? kMostPolls : 0))
        fail("some threads wait at a barrier that the others never reach");
    }
  }

  void wait(State state, unsigned mask) {
    Thread& self = *threads_[current_];
    self.state = state;
    self.mask = mask;
    scheduler_ = std::move(scheduler_).resume();
  }

  const unsigned char* exchange(unsigned mask, const void* value, size_t bytes) {
    if (bytes > kSlotBytes) fail("too much in one exchange");
    Thread& self = *threads_[current_];
    if ((mask >> (current_ % kWarp) & 1) == 0)
      fail("a lane takes part in an exchange whose mask leaves it out");
    std::memcpy(self.deposit.data(), value, bytes);
    const Slots& slots = slots_[current_ / kWarp];
    wait(State::warp_barrier, mask);
    return slots[0].data();
  }

  void* shared() { return shared_.data(); }
  size_t current() const { return current_; }

 private:
  struct alignas(1024) Line {
    unsigned char bytes[1024];
  };

  void add_thread() {
    threads_.push_back(std::make_unique<Thread>());
    Thread& thread = *threads_.back();
    thread.fiber = context::fiber(std::allocator_arg, context::fixedsize_stack(kStackBytes),
                                  [this, &thread](context::fiber&& caller) {
                                    scheduler_ = std::move(caller);
                                    for (;;) {
                                      (*kernel_)();
                                      thread.state = State::done;
                                      --live_;
                                      scheduler_ = std::move(scheduler_).resume();
                                    }
                                    return std::move(scheduler_);
                                  });
  }

  void resume(size_t i) {
    current_ = i;
    const auto n = static_cast<unsigned>(i);
    threadIdx = {n % blockDim.x, n / blockDim.x % blockDim.y, n / (blockDim.x * blockDim.y)};
    threads_[i]->fiber = std::move(threads_[i]->fiber).resume();
  }

  bool polling() const {
    return std::any_of(threads_.begin(), threads_.begin() + static_cast<std::ptrdiff_t>(count()),
                       [](const auto& thread) { return thread->state == State::polling; });
  }
  bool finished() const { return live_ == 0; }
  size_t count() const { return size_t{blockDim.x} * blockDim.y * blockDim.z; }

  bool release_block() {
    for (size_t i = 0; i < count(); ++i)
      if (threads_[i]->state != State::done && threads_[i]->state != State::block_barrier) return false;
    for (size_t i = 0; i < count(); ++i)
      if (threads_[i]->state == State::block_barrier) threads_[i]->state = State::ready;
    return live_ > 0;
  }

  // Lanes that wait with the same mask go on when all lanes of the mask that still run wait so.
  bool release_warps() {
    bool any = false;
    for (size_t begin = 0; begin < count(); begin += kWarp) {
      const size_t lanes = std::min<size_t>(kWarp, count() - begin);
      for (size_t i = 0; i < lanes; ++i) {
        if (threads_[begin + i]->state != State::warp_barrier) continue;
        const unsigned mask = threads_[begin + i]->mask;
        bool all = true;
        for (size_t j = 0; j < lanes; ++j) {
          const Thread& other = *threads_[begin + j];
          if ((mask >> j & 1) == 0 || other.state == State::done) continue;
          all = all && other.state == State::warp_barrier && other.mask == mask;
        }
        if (!all) continue;
        any = true;
        for (size_t j = 0; j < lanes; ++j)
          if ((mask >> j & 1) != 0 && threads_[begin + j]->state == State::warp_barrier) {
            threads_[begin + j]->state = State::ready;
            slots_[begin / kWarp][j] = threads_[begin + j]->deposit;
          }
      }
    }
    return any;
  }

  const std::function<void()>* kernel_ = nullptr;
  context::fiber scheduler_;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<Slots> slots_;  // of each warp
  std::vector<Line> shared_;
  size_t current_ = 0, live_ = 0;
};

// Never destroyed: its fibres are suspended inside kernels' loops.
Block& block() {
  thread_local auto* const instance = new Block;
  return *instance;
}

}  // namespace

void run_grid(dim3 grid, dim3 threads, size_t shared_bytes, const std::function<void()>& kernel) {
  gridDim = grid;
  blockDim = threads;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = {x, y, z};
        block().run(kernel, shared_bytes);
      }
}

void* dynamic_shared_memory() {
  return block().shared();
}
void block_barrier() {
  block().wait(State::block_barrier, 0);
}
void warp_barrier(unsigned mask) {
  block().wait(State::warp_barrier, mask);
}
void poll() {
  block().wait(State::polling, 0);
}
unsigned lane() {
  return static_cast<unsigned>(block().current() % kWarp);
}
const unsigned char* warp_exchange(unsigned mask, const void* value, size_t bytes) {
  return block().exchange(mask, value, bytes);
}

}  // namespace emulated_cuda
