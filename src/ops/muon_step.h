// SPDX-License-Identifier: MIT
// Muon's arithmetic of one element: shared by the ops of every device.
#pragma once

#include <cmath>
#include <limits>

#include "ops/muon.h"

namespace moe {

struct MuonMomentumStep {
  float scale, momentum;
  bool nesterov;
  MuonMomentumStep(const MuonMomentum& op, float gradient_scale)
      : scale(gradient_scale), momentum(op.momentum), nesterov(op.nesterov) {}
};

// Moves m along the gradient and returns u.
constexpr float muon_momentum_element(float& m, float gradient, const MuonMomentumStep& s) {
  const float g = gradient * s.scale;
  const bool finite = std::abs(g) <= std::numeric_limits<float>::max();
  const float moved = s.momentum * m + (1.0F - s.momentum) * g;
  const float ahead = s.momentum * moved + (1.0F - s.momentum) * g;
  m = finite ? moved : 0.0F;
  return !finite ? 0.0F : s.nesterov ? ahead : moved;
}

struct MuonUpdateStep {
  float decay, step;
  bool cautious;
  explicit MuonUpdateStep(const MuonUpdate& op)
      : decay(static_cast<float>(static_cast<double>(op.rate) * static_cast<double>(op.weight_decay))),
        step(static_cast<float>(static_cast<double>(op.rate) * static_cast<double>(op.shape_scale))),
        cautious(op.cautious) {}
};

constexpr float muon_update_element(float weight, float x, const MuonUpdateStep& s) {
  const bool decays = !s.cautious || x * weight > 0.0F;
  return weight - (decays ? s.decay * weight : 0.0F) - s.step * x;
}

}  // namespace moe
