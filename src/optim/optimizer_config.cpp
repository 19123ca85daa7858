// SPDX-License-Identifier: MIT
#include "optim/optimizer_config.h"

#include "base/error.h"

namespace moe::optim {

RolePolicy OptimizerConfig::of(Role role) const {
  const auto adamw = [&](bool states_8bit, double rate_scale, double decay) {
    return RolePolicy{Algorithm::adamw, eight_bit && states_8bit, rate_scale, decay};
  };
  switch (role) {
    case Role::embedding:
      return adamw(embedding_8bit, embedding_rate_scale, embedding_decays ? weight_decay : 0);
    case Role::head:
      return adamw(true, head_rate_scale, weight_decay);
    case Role::router:
      return adamw(router_8bit, router_rate_scale, router_decays ? weight_decay : 0);
    case Role::norm:
      return adamw(true, norm_rate_scale, 0);
    case Role::matrix:
    case Role::expert:
      if (muon.enabled) return {Algorithm::muon, eight_bit, muon.rate_scale, weight_decay};
      return adamw(true, 1, weight_decay);
  }
  CHECK(false, "a role without a policy");
}

}  // namespace moe::optim
