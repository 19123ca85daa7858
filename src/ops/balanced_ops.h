// SPDX-License-Identifier: MIT
// An Ops around another in which every expert gets the same number of tokens, whatever the router says: for
// measurements only, since what the router has learnt plays no part and its gradient is that of other
// experts.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "ops/observed_ops.h"
#include "tensor/arena.h"
#include "tensor/device.h"

namespace moe {

class BalancedOps final : public ObservedOps {
 public:
  // For micro-batches of up to `tokens` tokens, each of which goes to `choices` of `experts` experts.
  BalancedOps(Ops& inner, Device& device, int64_t tokens, int64_t choices, int64_t experts)
      : ObservedOps(inner),
        arena_(device, tokens * choices * static_cast<int64_t>(sizeof(int32_t)) + 4096),
        expert_NK_(arena_.allocate("balanced routing", DType::i32, {tokens, choices})) {
    std::vector<int32_t> expert(static_cast<size_t>(tokens * choices));
    for (size_t i = 0; i < expert.size(); ++i)
      expert[i] = static_cast<int32_t>(static_cast<int64_t>(i) % experts);
    device.to_device(expert_NK_, expert.data());
  }

  void route(Route op) override {
    inner().route(op);
    balance(op.expert_NK);
  }
  void router_forward(RouterForward op) override {
    inner().router_forward(op);
    balance(op.route.expert_NK);
  }

 private:
  void balance(Tensor expert_NK) { inner().copy(expert_NK, expert_NK_.rows(0, expert_NK.dim(0))); }
  void run(const Operation&, const std::function<void()>& body) override { body(); }

  Arena arena_;
  Tensor expert_NK_;
};

}  // namespace moe
