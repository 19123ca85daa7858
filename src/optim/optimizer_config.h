// SPDX-License-Identifier: MIT
// What the optimizers are told: their settings, and what each role of a parameter gets of them.
#pragma once

#include <cstdint>

#include "base/choices.h"
#include "ops/ops.h"
#include "tensor/parameter.h"

namespace moe::optim {

enum class Algorithm : uint8_t { adamw, muon };
constexpr auto choices_of(Algorithm) {
  return choices<Algorithm>({{Algorithm::adamw, "AdamW"}, {Algorithm::muon, "Muon"}});
}

// What is done with the tensors of a role (tensor/parameter.h).
struct RolePolicy {
  Algorithm algorithm = Algorithm::adamw;
  bool eight_bit = true;    // block-wise 8-bit states
  double rate_scale = 1;    // of the learning rate
  double weight_decay = 0;  // decoupled: times the learning rate
  bool operator==(const RolePolicy&) const = default;
};

// How long a step of Muon is, by the shape of the matrix: X has singular values of about 1.
enum class MuonScale : uint8_t {
  rms,  // 0.2 sqrt(max(rows, cols)): elements move as much as with AdamW (Liu et al. 2025, arXiv 2502.16982)
  spectral,  // sqrt(max(1, rows / cols)) (Jordan et al. 2024)
};

constexpr auto choices_of(MuonScale) {
  return choices<MuonScale>({{MuonScale::rms, "rms"}, {MuonScale::spectral, "spectral"}});
}

struct MuonConfig {
  bool enabled = false;  // for matrices of attention and experts
  double rate_scale = 1, momentum = 0.95;
  // The momentum rises to its value, in a straight line over so many steps (modded-nanogpt).
  double first_momentum = 0.85;
  int64_t momentum_warmup_steps = 0;
  bool nesterov = true;
  double beta2 = 0;  // NorMuon's, of a second moment for each row; 0: none
  MuonScale scale = MuonScale::rms;
  NewtonSchulzSteps steps = polar_express_steps(5);
  DType type = DType::bf16;  // of its products: bf16 or f32
};

// What the optimizers are told of a step. count: updates before this one; bias corrections and Muon's
// momentum go by it. decay_scale: times each role's weight decay (weight_decay_scale() of optim/schedule.h).
struct Update {
  int64_t count = 0;
  double learning_rate = 0, decay_scale = 1;
};

struct OptimizerConfig {
  bool eight_bit = true;  // 8-bit block-wise states (AdamW: 2.03 bytes a weight) instead of f32 (8 bytes)
  AdamW::Order order = AdamW::Order::pytorch;
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weight_decay = 0.1;
  bool cautious_decay = false;  // only where the step shrinks the weight
  // Two roles whose states stay f32 in 8-bit mode, unless asked for.
  bool embedding_8bit = false, router_8bit = false;
  double embedding_rate_scale = 1, head_rate_scale = 1, router_rate_scale = 1, norm_rate_scale = 1;
  bool embedding_decays = true, router_decays = true;
  MuonConfig muon = {};
  uint64_t seed = 0;  // of the rounding of bf16 weights

  // A role decides its optimizer, states, rate and decay, here and nowhere else.
  RolePolicy of(Role role) const;
};

}  // namespace moe::optim
