// SPDX-License-Identifier: MIT
// Who shares what with whom, by `distributed.layout`. With expert parallelism (`expert`), E ranks that
// follow one another have all experts between them (a launcher numbers the ranks of one machine so), and the
// ranks r, r + E, r + 2 E, ... have the same ones.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "comm/communicator.h"
#include "model/all_to_all.h"
#include "model/config.h"
#include "tensor/device.h"
#include "tensor/parameter.h"
#include "train/mesh.h"
#include "train/run_config.h"

namespace moe::train {

class RankGroups {
 public:
  // All ranks of the world call it. Throws UserError when they cannot share the experts so. device and world
  // must outlive it. whole_matrices: as in ShardingPlan.
  RankGroups(const DistributedConfig& distributed, const model::ModelConfig& model, comm::Communicator& world,
             Device& device, bool whole_matrices = false);
  ~RankGroups();

  comm::Communicator& world() { return world_; }
  // Those that have the same weights: of experts, and of all else. Gradients and weights go between them
  // beside all that is said in the world, and do not wait for it, so these are worlds of their own.
  comm::Communicator& sharing(bool experts) {
    return experts && same_experts_ ? *same_experts_ : same_weights_ ? *same_weights_ : world_;
  }
  // Between those that have different ones; null where each has all.
  model::AllToAll* all_to_all() { return all_to_all_.get(); }
  // For a micro-batch that is computed while another one's rows travel; null without distributed.overlap.
  model::AllToAll* overlap_all_to_all() { return overlap_all_to_all_.get(); }
  // train::some_may_stop of these ranks.
  bool some_may_stop() const { return some_may_stop_; }
  const ShardingPlan& sharding() const { return sharding_; }
  // Of checkpoints: some of what is saved lies on one rank only.
  bool in_parts() const { return sharding_.other_updates.world > 1; }

 private:
  void share_experts(const DistributedConfig& distributed, Device& device);

  comm::Communicator& world_;
  Mesh mesh_;
  std::unique_ptr<comm::Communicator> same_weights_, experts_, same_experts_;
  std::unique_ptr<model::AllToAll> all_to_all_, overlap_all_to_all_;
  ShardingPlan sharding_;
  bool some_may_stop_ = false;
};

// Whether in a pass some ranks may give up (distributed.expert_buffer_factor) that others end, and learn
// about it later: where one of several groups of ranks that share the experts has no room for its rows.
bool some_may_stop(const DistributedConfig& distributed, const Mesh& mesh);

}  // namespace moe::train
