// SPDX-License-Identifier: MIT
// How the experts' kernels for Hopper find a row's token.
#include <gtest/gtest.h>

#include "gpu/sm90/grouped_tile.cuh"

namespace moe::gpu {
namespace {

// Without a division, for every number of choices and the slots where an estimate would go wrong.
TEST(TokenOfASlot, IsTheQuotient) {
  for (uint32_t choices = 1; choices <= 64; ++choices) {
    grouped::Product p{};
    p.choices = static_cast<int>(choices);
    p.part = 0xFFFFFFFF / choices;
    for (const uint32_t token : {0U, 1U, 2U, 1000U, 32767U, 0x7FFFFFFFU / choices - 1})
      for (uint32_t k = 0; k < choices; ++k)
        EXPECT_EQ(p.token_of(token * choices + k), token) << choices << ", " << k;
  }
}

}  // namespace
}  // namespace moe::gpu
