// SPDX-License-Identifier: MIT
// Hopper's own instructions (PTX ISA 8, sections 9.7.8 to 9.7.15), a thin wrapper each: barriers in shared
// memory, the tensor memory accelerator (TMA), fences, registers by role. wgmma is in wgmma.cuh. Only files
// that are compiled for sm_90a include this; the emulated build has its own file of this name.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace moe::gpu {

using Barrier = uint64_t;  // an mbarrier, in shared memory

__device__ __forceinline__ uint32_t shared_pointer(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// One thread makes the barriers, then all threads meet (fence_barriers, __syncthreads) before the first use.
__device__ __forceinline__ void barrier_init(Barrier* barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_pointer(barrier)), "r"(arrivals));
}
__device__ __forceinline__ void fence_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void barrier_arrive(Barrier* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_pointer(barrier)) : "memory");
}
// Arrives, and lets the phase wait for this many bytes of copies as well.
__device__ __forceinline__ void barrier_arrive_expect(Barrier* barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_pointer(barrier)),
               "r"(bytes)
               : "memory");
}
// Arrives when all copies that this thread has started with cp.async are done: one of the arrivals that the
// barrier counts.
__device__ __forceinline__ void barrier_arrive_after_copies(Barrier* barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(shared_pointer(barrier))
               : "memory");
}
// Waits for the end of the phase of this parity (0 for the first one).
__device__ __forceinline__ void barrier_wait(Barrier* barrier, uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n"
      "}\n" ::"r"(shared_pointer(barrier)),
      "r"(parity)
      : "memory");
}

// Copies the map's box at column x, row y into shared memory; arrives its bytes at the barrier. One thread
// calls it.
__device__ __forceinline__ void tma_load(void* to, const CUtensorMap* map, Barrier* barrier, int32_t x,
                                         int32_t y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], "
      "[%2];" ::"r"(shared_pointer(to)),
      "l"(map), "r"(shared_pointer(barrier)), "r"(x), "r"(y)
      : "memory");
}
// Copies `bytes` consecutive bytes to shared memory and arrives them at the barrier; bytes and both addresses
// are multiples of 16. One thread calls it.
__device__ __forceinline__ void bulk_load(void* to, const void* from, uint32_t bytes, Barrier* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
          shared_pointer(to)),
      "l"(from), "r"(bytes), "r"(shared_pointer(barrier))
      : "memory");
}
// Writes the map's box in shared memory to column x, row y; what lies outside the matrix is left out. One
// thread calls it, after a fence_async_proxy() of those that wrote the box. The same thread commits a group
// of them and waits until at most `pending` groups still have to be read from shared memory.
__device__ __forceinline__ void tma_store(const CUtensorMap* map, const void* from, int32_t x, int32_t y) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map),
               "r"(shared_pointer(from)), "r"(x), "r"(y)
               : "memory");
}
__device__ __forceinline__ void tma_store(const CUtensorMap* map, const void* from, int32_t x, int32_t y,
                                          int32_t z) {
  asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map),
               "r"(shared_pointer(from)), "r"(x), "r"(y), "r"(z)
               : "memory");
}
// The same, but adds. Only where nobody else adds to the same place: else the order, and so the bits, would
// be open.
__device__ __forceinline__ void tma_add(const CUtensorMap* map, const void* from, int32_t x, int32_t y,
                                        int32_t z) {
  asm volatile(
      "cp.reduce.async.bulk.tensor.3d.global.shared::cta.add.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map),
      "r"(shared_pointer(from)), "r"(x), "r"(y), "r"(z)
      : "memory");
}
__device__ __forceinline__ void tma_store_commit() {
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
template <int pending>
__device__ __forceinline__ void tma_store_wait_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(pending) : "memory");
}

// Ordinary writes of shared memory before it are seen by wgmma and TMA after it.
__device__ __forceinline__ void fence_async_proxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// 16 bytes to an address that is a multiple of 16, by one instruction: what has been computed with word by
// word the compiler stores in words, or even in halves of words.
__device__ __forceinline__ void store_16(void* p, const uint4& v) {
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(p), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
               : "memory");
}

// Products of two pairs of bf16.
__device__ __forceinline__ uint32_t multiply_pairs(uint32_t a, uint32_t b) {
  uint32_t c;
  asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(c) : "r"(a), "r"(b));
  return c;
}

// A barrier of `threads` threads, a multiple of 32; id 1 to 15 (0 is __syncthreads).
__device__ __forceinline__ void named_barrier(uint32_t id, uint32_t threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// Registers a thread of this warpgroup may use from here on; all four warps call it.
template <int count>
__device__ __forceinline__ void warpgroup_reg_dealloc() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}
template <int count>
__device__ __forceinline__ void warpgroup_reg_alloc() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}

// True in one thread of the (converged) warp.
__device__ __forceinline__ bool elect_one() {
  uint32_t chosen = 0;
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "elect.sync _|p, 0xffffffff;\n"
      "selp.u32 %0, 1, 0, p;\n"
      "}\n"
      : "=r"(chosen));
  return chosen != 0;
}

}  // namespace moe::gpu
