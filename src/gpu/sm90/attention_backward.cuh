// SPDX-License-Identifier: MIT
// What the two kernels of attention's gradients on Hopper share: the queries' statistics, and how blocks draw
// their work.
// A block a processor stays for the whole kernel: one warp copies tiles, ahead of two warpgroups that
// multiply them, and goes on to the next piece of work while these still store the last.
#pragma once

#include "gpu/attention_statistics.cuh"
#include "gpu/sm90/attention.cuh"
#include "gpu/sm90/attention_work.cuh"
#include "gpu/sm90/tile_scheduler.cuh"
#include "ops/attention.h"

namespace moe::gpu::sm90 {

inline constexpr int kBackwardThreads = 3 * kGroup;

// What the kernels read beside the tiles that are copied, and the number of the next piece of work of each.
struct BackwardInputs {
  Statistics statistics;
  Shape shape;
  int* next;
};

// Elements outside [begin, end] of what a thread's two rows see.
struct Bounds {
  int begin[2], end[2];  // of each row; inclusive
  int from, to;          // what all rows of the warp see

  // All lanes of a warp; begin and end are set.
  __device__ __forceinline__ void join() {
    from = max(begin[0], begin[1]);
    to = min(end[0], end[1]);
#pragma unroll
    for (int lanes = 16; lanes > 2; lanes /= 2) {
      from = max(from, __shfl_xor_sync(kAllLanes, from, lanes));
      to = min(to, __shfl_xor_sync(kAllLanes, to, lanes));
    }
  }
  __device__ __forceinline__ bool all_seen(int tile) const {
    return tile >= from && tile + kTokens - 1 <= to;
  }
  // Weights of what is not seen become 0.
  __device__ __forceinline__ void hide(Fragment& p, int tile) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int low = begin[i] - tile - fragment_column(), high = end[i] - tile - fragment_column();
#pragma unroll
      for (int j = 0; j < 8; ++j)
#pragma unroll
        for (int c = 0; c < 2; ++c)
          if (8 * j + c < low || 8 * j + c > high) p[4 * j + 2 * i + c] = 0;
    }
  }
};

// What a block does: one warp copies what the loops read (and draws the work), one what is read once, and two
// warpgroups multiply.
// readers: how many arrivals give a stage back.
template <class Shared, class Copy, class CopyOwn, class Multiply>
__device__ __forceinline__ void run_block(Shared& shared, int readers, Copy copy, CopyOwn copy_own,
                                          Multiply multiply) {
  if (threadIdx.x == 0) {
    shared.pipeline.init(readers);
    for (auto& owned : shared.owned) owned.init(kGroup);
    shared.scheduler.init(2 * kGroup / 32 + 1);
    fence_barriers();
  }
  __syncthreads();
  const int group = same_in_warp(static_cast<int>(threadIdx.x) / kGroup);
  if (group == 0) {
    warpgroup_reg_dealloc<40>();
    if (threadIdx.x < 32)
      copy();
    else if (threadIdx.x < 64)
      copy_own();
    return;
  }
  warpgroup_reg_alloc<232>();
  multiply(group - 1);
}

// Tiles of 64 tokens of one head.
struct BackwardMaps {
  CUtensorMap q, k, v, dout;
};

void launch_key_gradients(cudaStream_t stream, int num_sms, const BackwardMaps& maps, AttentionBackward& op,
                          const BackwardInputs& in);
void launch_query_gradients(cudaStream_t stream, int num_sms, const BackwardMaps& maps, AttentionBackward& op,
                            const BackwardInputs& in);

}  // namespace moe::gpu::sm90
