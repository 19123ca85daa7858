// SPDX-License-Identifier: MIT
#include "train/global_balance.h"

#include <algorithm>

#include "comm/ordered_sum.h"
#include "tensor/fetch.h"

namespace moe::train {
GlobalBalance::GlobalBalance(const model::ModelConfig& config)
    : L_(static_cast<size_t>(config.moe_layers())), E_(static_cast<size_t>(config.num_experts)) {}

void GlobalBalance::begin() {
  tokens_ = 0;
  first_LE_.assign(L_ * E_, 0);
  probability_LE_.assign(L_ * E_, 0);
  z_L_.assign(L_, 0);
}

void GlobalBalance::count(const model::Transformer& transformer, int64_t tokens, Device& device) {
  const auto n = static_cast<double>(tokens);
  tokens_ += tokens;
  for (size_t l = 0; l < L_; ++l) {
    const model::RouterSaved& routed = transformer.routed(static_cast<int64_t>(l));
    const auto first = fetch<int32_t>(routed.plan.top1_count_E, device);
    const auto mean = fetch<float>(routed.P_E, device);
    for (size_t e = 0; e < E_; ++e) {
      first_LE_[l * E_ + e] += first[e];
      probability_LE_[l * E_ + e] += n * static_cast<double>(mean[e]);
    }
    z_L_[l] += n * static_cast<double>(fetch<float>(routed.loss_2, device)[1]);
  }
}

void GlobalBalance::all_reduce(comm::Communicator& world) {
  for (auto* values : {&first_LE_, &probability_LE_, &z_L_}) comm::add_up_ranks(*values, world);
  tokens_ = std::max<int64_t>(1, world.sum(tokens_));
}

void GlobalBalance::put_shares(const model::Transformer& transformer, Device& device) const {
  std::vector<float> share(E_);
  for (size_t l = 0; l < L_; ++l) {
    for (size_t e = 0; e < E_; ++e)
      share[e] = static_cast<float>(first_LE_[l * E_ + e] / static_cast<double>(tokens_));
    device.to_device(transformer.routed(static_cast<int64_t>(l)).f_E, share.data());
  }
}

void GlobalBalance::put_losses(const model::StepSums& sums, int64_t times, Device& device) const {
  std::vector<float> loss_L2;
  const auto n = static_cast<double>(tokens_), factor = static_cast<double>(times);
  for (size_t l = 0; l < L_; ++l) {
    double balance = 0;
    for (size_t i = l * E_; i < (l + 1) * E_; ++i) balance += probability_LE_[i] / n * (first_LE_[i] / n);
    loss_L2.push_back(static_cast<float>(factor * static_cast<double>(E_) * balance));
    loss_L2.push_back(static_cast<float>(factor * z_L_[l] / n));
  }
  device.to_device(sums.router_loss_L2, loss_L2.data());
}

}  // namespace moe::train
