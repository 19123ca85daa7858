// SPDX-License-Identifier: MIT
#include "train/mesh.h"

#include <fmt/format.h>

#include <string>

#include "base/error.h"

namespace moe {

ShardingPlan Mesh::sharding(int rank) const {
  ShardingPlan plan;
  if (zero1) plan.other_updates = {rank, world()};
  if (zero1) plan.expert_updates = {dp_rank(rank), dp};
  plan.experts = {ep_rank(rank), ep};
  return plan;
}

Mesh mesh_of(const DistributedConfig& distributed, int world) {
  if (world == 1) return {};
  switch (distributed.layout) {
    case ParallelLayout::data_parallel:
      return {.dp = world};
    case ParallelLayout::automatic:  // it moves the same bytes as data_parallel
    case ParallelLayout::zero1:
      return {.dp = world, .zero1 = true};
    case ParallelLayout::expert:
      break;
  }
  const int ranks = distributed.expert_parallel == 0 ? world : static_cast<int>(distributed.expert_parallel);
  if (world % ranks != 0)
    throw UserError("distributed.expert_parallel", fmt::format("a divisor of the {} ranks", world),
                    std::to_string(ranks));
  return {.dp = world / ranks, .ep = ranks, .zero1 = true};
}

}  // namespace moe
