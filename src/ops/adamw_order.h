// SPDX-License-Identifier: MIT
// The names of AdamW's update orders, as a setting.
#pragma once

#include "base/choices.h"
#include "ops/optimizer.h"

namespace moe {

constexpr auto choices_of(AdamW::Order) {
  return choices<AdamW::Order>(
      {{AdamW::Order::pytorch, "pytorch"}, {AdamW::Order::bitsandbytes, "bitsandbytes"}});
}

}  // namespace moe
