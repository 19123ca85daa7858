// SPDX-License-Identifier: MIT
// The ranks of a run as a mesh (torchtitan's ParallelDims): `dp` replicas of the model, each of `ep` ranks
// that share its experts. `distributed.layout` is the short way to say it.
#pragma once

#include "tensor/parameter.h"
#include "train/run_config.h"

namespace moe::train {

struct Mesh {
  int dp = 1, ep = 1;
  bool zero1 = false;  // each rank updates a shard: of experts over dp, of all else over all ranks

  int world() const { return dp * ep; }
  int dp_rank(int rank) const { return rank / ep; }
  int ep_rank(int rank) const { return rank % ep; }
  // What this rank has and updates.
  ShardingPlan sharding(int rank) const;
};

// What `auto` stands for: zero1, which moves the same bytes as data_parallel. Others are themselves.
ParallelLayout chosen_layout(const DistributedConfig& distributed);

// Throws UserError when the ranks cannot be laid out so.
Mesh mesh_of(const DistributedConfig& distributed, int world);

}  // namespace moe::train
