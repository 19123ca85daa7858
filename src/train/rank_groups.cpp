// SPDX-License-Identifier: MIT
#include "train/rank_groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/error.h"

namespace moe::train {
namespace {

// Over a communicator: counts first, then tokens. NCCL takes counts from the host, so the host waits for the
// device, once a block in each forward pass. Backward reuses the counts of forward.
class CommunicatorAllToAll final : public model::AllToAll {
 public:
  // slot: of the communicator. first: of these ranks in the world. room: for so many times the rows that a
  // rank sends; 0: for all that can come.
  CommunicatorAllToAll(comm::Communicator& communicator, int slot, int first, double room, Device& device)
      : communicator_(communicator), slot_(slot), first_(first), room_(room), device_(device) {}

  int ranks() const override { return communicator_.size(); }
  int64_t max_recv_tokens(int64_t sent, int64_t most) const override {
    if (room_ == 0) return most;
    return std::min(most,
                    std::max(kFewRows, static_cast<int64_t>(std::ceil(room_ * static_cast<double>(sent)))));
  }

  void exchange_counts(const RoutePlan& plan) override { communicator_.start_gather(slot_, plan.offset_E1); }
  model::TokenCounts recv_counts(Tensor expert_X) override {
    const std::span<const std::byte> told = communicator_.finish_gather(slot_);
    const auto W = static_cast<size_t>(ranks());
    const size_t E = told.size() / sizeof(int32_t) / W - 1, here = E / W;  // experts of one rank
    std::vector<int32_t> offset(W * (E + 1));                              // of each rank, into its rows
    std::memcpy(offset.data(), told.data(), told.size());
    const auto at = [&](size_t rank, size_t expert) { return offset[rank * (E + 1) + expert]; };

    model::TokenCounts rows{std::vector<int64_t>(W), std::vector<int64_t>(W)};
    std::vector<int64_t> total(W);  // that each rank gets
    const auto mine = static_cast<size_t>(communicator_.rank());
    for (size_t r = 0; r < W; ++r) {
      for (size_t to = 0; to < W; ++to) total[to] += at(r, (to + 1) * here) - at(r, to * here);
      rows.send[r] = at(mine, (r + 1) * here) - at(mine, r * here);
      rows.recv[r] = at(r, (mine + 1) * here) - at(r, mine * here);
    }
    check_room(total, expert_X.dim(0));
    expert_.clear();
    for (size_t r = 0; r < W; ++r)
      for (size_t e = 0; e < here; ++e)
        expert_.insert(expert_.end(),
                       static_cast<size_t>(at(r, mine * here + e + 1) - at(r, mine * here + e)),
                       static_cast<int32_t>(e));
    if (!expert_.empty()) device_.to_device(expert_X.rows(0, std::ssize(expert_)), expert_.data());
    return rows;
  }
  void dispatch(Tensor received, const Tensor& rows, const model::TokenCounts& counts) override {
    communicator_.start_all_to_all(slot_, received, counts.recv, rows, counts.send);
  }
  void combine(Tensor rows, const Tensor& received, const model::TokenCounts& counts) override {
    communicator_.start_all_to_all(slot_, rows, counts.send, received, counts.recv);
  }
  void wait() override { communicator_.finish(slot_); }
  void broadcast(Tensor x) override { communicator_.broadcast(x, 0); }

 private:
  // A prompt and a few tokens: room for all of them costs little, and all ranks send the same ones.
  static constexpr int64_t kFewRows = 8192;

  void check_room(const std::vector<int64_t>& total, int64_t room) const {
    const auto most = std::max_element(total.begin(), total.end());
    if (*most <= room) return;
    throw UserError(fmt::format("experts of rank {}", first_ + (most - total.begin())),
                    fmt::format("at most {} rows from all ranks", room), std::to_string(*most),
                    "raise distributed.expert_buffer_factor (0: room for all rows there can be), or "
                    "model.aux_loss_weight, which keeps experts equally busy");
  }

  comm::Communicator& communicator_;
  int slot_, first_;
  double room_;
  Device& device_;
  std::vector<int32_t> expert_;  // of each row that comes in; its memory is kept
};

void check_experts(const model::ModelConfig& model, int ranks) {
  if (model.moe_layers() == 0)
    throw UserError("distributed.layout", "a layout without expert parallelism: the model has no experts",
                    std::string(name_of(ParallelLayout::expert)), "distributed.layout=zero1");
  if (model.num_experts % ranks != 0)
    throw UserError("distributed.expert_parallel",
                    fmt::format("a divisor of model.num_experts ({})", model.num_experts),
                    std::to_string(ranks), "each rank has as many experts as any other");
  // Of the smaller matrix; a block of 256 elements has one scale in 8-bit states.
  const int64_t elements = model.num_experts / ranks * model.d_model * model.expert_intermediate_dim;
  if (elements % Parameter::kAlignment != 0)
    throw UserError(
        "distributed.expert_parallel",
        fmt::format("experts of one rank to have a multiple of {} weights", Parameter::kAlignment),
        std::to_string(elements), "take fewer ranks, or another model.expert_intermediate_dim");
}

}  // namespace

bool some_may_stop(const DistributedConfig& distributed, const Mesh& mesh) {
  return distributed.expert_buffer_factor > 0 && mesh.ep > 1 && mesh.dp > 1;
}

RankGroups::RankGroups(const DistributedConfig& distributed, const model::ModelConfig& model,
                       comm::Communicator& world, Device& device, bool whole_matrices)
    : world_(world), mesh_(mesh_of(distributed, world.size())), sharding_(mesh_.sharding(world.rank())) {
  if (world.size() == 1) return;
  sharding_.whole_matrices = whole_matrices;
  same_weights_ = world_.split(0, world.rank(), world.size());
  sharding_.bucket_bytes = static_cast<int64_t>(distributed.bucket_mb * 1e6);
  if (distributed.layout == ParallelLayout::expert) check_experts(model, mesh_.ep);
  if (mesh_.ep > 1) share_experts(distributed, device);
}

RankGroups::~RankGroups() = default;

void RankGroups::share_experts(const DistributedConfig& distributed, Device& device) {
  const int dp_rank = mesh_.dp_rank(world_.rank()), ep_rank = mesh_.ep_rank(world_.rank());
  experts_ = world_.split(dp_rank, ep_rank, mesh_.ep);
  same_experts_ = world_.split(ep_rank, dp_rank, mesh_.dp);
  some_may_stop_ = train::some_may_stop(distributed, mesh_);
  const auto slot = [&](int number) {
    return std::make_unique<CommunicatorAllToAll>(*experts_, number, dp_rank * mesh_.ep,
                                                  distributed.expert_buffer_factor, device);
  };
  all_to_all_ = slot(0);
  if (distributed.overlap) overlap_all_to_all_ = slot(1);
}

}  // namespace moe::train
