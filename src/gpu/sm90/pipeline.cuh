// SPDX-License-Identifier: MIT
// The hand-over of stages of shared memory between the warp that copies and the warpgroups that multiply.
#pragma once

#include "gpu/block_reduce.cuh"
#include "gpu/sm90/sm90.cuh"

namespace moe::gpu {

inline constexpr int kGroup = 128;  // threads of a warpgroup

// x is the same in all lanes, and now the compiler knows: what follows from it (stages, operands'
// descriptors) is computed once a warp, on the uniform datapath, which matrix instructions take it from.
__device__ __forceinline__ int same_in_warp(int x) {
  return __shfl_sync(kAllLanes, x, 0);
}

// Which stage, and the phase of its phase: both sides walk through the stages in the same order.
template <int stages>
struct PipelineState {
  int stage = 0;
  uint32_t phase = 0;
  __device__ __forceinline__ void next() {
    if (++stage < stages) return;
    stage = 0;
    phase ^= 1;
  }
  __device__ __forceinline__ void skip(int steps) {
    const int rounds = (stage + steps) / stages;
    stage += steps - rounds * stages;
    phase ^= static_cast<uint32_t>(rounds % 2);
  }
};

template <int stages>
struct Pipeline {
  Barrier full[stages], empty[stages];

  // One thread; readers: warps that read a stage, each of which arrives once when it is done with it (threads
  // with release_by_lanes). writers: threads that fill it; TMA needs one, ordinary writes each thread that
  // makes them.
  __device__ __forceinline__ void init(int readers, int writers = 1) {
    for (int i = 0; i < stages; ++i) {
      barrier_init(&full[i], static_cast<uint32_t>(writers));
      barrier_init(&empty[i], static_cast<uint32_t>(readers));
    }
  }
  // The producer warp: until the stage may be written. Then one lane arrives at full[stage] with the bytes to
  // come.
  __device__ __forceinline__ void wait_empty(const PipelineState<stages>& walk) {
    barrier_wait(&empty[walk.stage], walk.phase ^ 1);
  }
  __device__ __forceinline__ void wait_full(const PipelineState<stages>& walk) {
    barrier_wait(&full[walk.stage], walk.phase);
  }
  // Each reading warp, when its matrix instructions on the stage are done.
  __device__ __forceinline__ void release(int stage) {
    __syncwarp();
    if (threadIdx.x % 32 == 0) barrier_arrive(&empty[stage]);
  }
  // The same of a stage that lanes read by themselves and not matrix instructions; `readers` are threads
  // then. (One lane's arrival after __syncwarp() would do as well, but compute-sanitizer's racecheck knows
  // only what each thread itself did. It costs nothing that could be measured.)
  __device__ __forceinline__ void release_by_lanes(int stage) { barrier_arrive(&empty[stage]); }
};

}  // namespace moe::gpu
