// SPDX-License-Identifier: MIT
// How blocks that stay for a whole kernel draw their work: each piece has one owner and its sums a fixed
// order, whoever draws it.
#pragma once

#include "gpu/block_reduce.cuh"
#include "gpu/sm90/pipeline.cuh"

namespace moe::gpu::sm90 {

// The producer warp draws pieces of work, in order, up to two ahead of the warps that read what it found out
// about them.
template <class Piece>
struct TileScheduler {
  Piece drawn[2];
  Pipeline<2> pipeline;

  __device__ __forceinline__ void init(int reading_warps) { pipeline.init(32 * reading_warps, 32); }
  // The producer warp, all lanes: the number of the next piece. publish() must follow, also when there is
  // none.
  __device__ __forceinline__ int next_tile(int* next, const PipelineState<2>& turn) {
    pipeline.wait_empty(turn);
    int number = 0;
    if (threadIdx.x % 32 == 0) number = atomicAdd(next, 1);
    return __shfl_sync(kAllLanes, number, 0);
  }
  __device__ __forceinline__ void publish(PipelineState<2>& turn, const Piece& piece) {
    if (threadIdx.x % 32 == 0) drawn[turn.stage] = piece;
    publish(turn);
  }
  // What the lanes wrote there themselves.
  __device__ __forceinline__ void publish(PipelineState<2>& turn) {
    barrier_arrive(&pipeline.full[turn.stage]);
    turn.next();
  }
  // A reading warp, all lanes: what was published. release() must follow.
  __device__ __forceinline__ const Piece& wait(const PipelineState<2>& turn) {
    pipeline.wait_full(turn);
    return drawn[turn.stage];
  }
  __device__ __forceinline__ void release(PipelineState<2>& turn) {
    pipeline.release_by_lanes(turn.stage);
    turn.next();
  }
  // Both, of what lanes hold alike.
  __device__ __forceinline__ Piece read(PipelineState<2>& turn) {
    const Piece piece = wait(turn);
    release(turn);
    return piece;
  }
};

}  // namespace moe::gpu::sm90
