// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace moe::checkpoint {

// Throws UserError when values of the format's type F32, BF16 or F16 hold an infinity or a NaN; other types
// pass.
// where: the tensor, for the message. first: the place of the first of these values in it.
void require_finite(const std::string& where, std::string_view dtype, std::span<const uint8_t> bytes,
                    int64_t first = 0);

}  // namespace moe::checkpoint
