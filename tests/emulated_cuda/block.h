// SPDX-License-Identifier: MIT
// Runs the threads of one CUDA block on one thread of the host: a fibre for each, switched at barriers. So
// every kernel of src/gpu is tested on machines without a GPU. What goes wrong on a GPU goes wrong here: a
// barrier that not all threads reach stops the program with a message; a missing barrier shows because the
// order in which threads run alternates; dynamic shared memory starts as NaN.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

// CUDA's names; what the running fibre sees, set at each switch.
extern constinit thread_local uint3 threadIdx, blockIdx;
extern constinit thread_local dim3 blockDim, gridDim;

namespace emulated_cuda {

inline constexpr unsigned kWarp = 32;

// Runs kernel() once for each thread of each block, blocks one after another.
void run_grid(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& kernel);

// From inside a kernel:
void* dynamic_shared_memory();
void block_barrier();
void warp_barrier(unsigned mask);
void poll();  // lets the other threads run; for loops that wait until another one has done something
unsigned lane();

// One step of a warp-wide operation: deposits `bytes` (at most 64) of this lane, waits for the others of the
// mask, and returns the deposits of all lanes, 64 bytes each, valid until this lane's next exchange or
// barrier.
const unsigned char* warp_exchange(unsigned mask, const void* value, size_t bytes);

}  // namespace emulated_cuda
