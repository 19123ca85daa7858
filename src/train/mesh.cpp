// SPDX-License-Identifier: MIT
#include "train/mesh.h"

#include <fmt/format.h>

#include <string>

#include "base/error.h"

namespace moe::train {

ShardingPlan Mesh::sharding(int rank) const {
  ShardingPlan plan;
  if (zero1) plan.other_updates = {rank, world()};
  if (zero1) plan.expert_updates = {dp_rank(rank), dp};
  plan.experts = {ep_rank(rank), ep};
  return plan;
}

ParallelLayout chosen_layout(const DistributedConfig& distributed) {
  return distributed.layout == ParallelLayout::automatic ? ParallelLayout::zero1 : distributed.layout;
}

Mesh mesh_of(const DistributedConfig& distributed, int world) {
  if (world == 1) return {};
  switch (chosen_layout(distributed)) {
    case ParallelLayout::data_parallel:
      return {.dp = world};
    case ParallelLayout::automatic:
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

}  // namespace moe::train
