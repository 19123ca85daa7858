// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace moe {

// One of `world` equal parts of something that ranks share.
struct Shard {
  int64_t rank = 0, world = 1;
};

}  // namespace moe
