// SPDX-License-Identifier: MIT
// The balance and z-losses over all tokens of a step, on all ranks and in all micro-batches
// (distributed.balance_loss = global), instead of over one micro-batch of one rank: what is learnt then does
// not depend on how a step is cut.
//   balance = E * sum_e P_e f_e,
//     P_e: mean probability, f_e: share of first choices, both over the step's tokens;
//   the gradient goes through P only, so backward needs f of the whole step (Qiu et al. 2025, arXiv
//   2501.11873).
#pragma once

#include <cstdint>
#include <vector>

#include "comm/communicator.h"
#include "model/config.h"
#include "model/transformer.h"
#include "tensor/device.h"

namespace moe::train {

class GlobalBalance {
 public:
  explicit GlobalBalance(const model::ModelConfig& config);

  void begin();
  // What the last forward pass has found for so many tokens. Waits for the device.
  void count(const model::Transformer& transformer, int64_t tokens, Device& device);
  // Over ranks; all call it.
  void all_reduce(comm::Communicator& world);

  // ---- after that ----
  int64_t tokens() const { return tokens_; }
  // For the backward pass of the last forward pass.
  void put_shares(const model::Transformer& transformer, Device& device) const;
  // (balance, z) of each layer, times `times`, where the sums over micro-batches are.
  void put_losses(const model::StepSums& sums, int64_t times, Device& device) const;

 private:
  size_t L_, E_;
  int64_t tokens_ = 0;
  std::vector<double> first_LE_, probability_LE_, z_L_;  // sums over tokens
};

}  // namespace moe::train
