// SPDX-License-Identifier: MIT
#include "checkpoint/finite.h"

#include <fmt/format.h>

#include <cstring>

#include "base/error.h"

namespace moe::checkpoint {
namespace {

// Infinities and NaNs have all bits of the exponent.
template <class Bits>
void check(const std::string& where, std::span<const uint8_t> bytes, Bits exponent, Bits fraction,
           int64_t first) {
  for (size_t i = 0; i < bytes.size() / sizeof(Bits); ++i) {
    Bits bits = 0;
    std::memcpy(&bits, bytes.data() + i * sizeof(Bits), sizeof(Bits));
    if ((bits & exponent) != exponent) continue;
    throw UserError(where, "numbers",
                    fmt::format("{} at element {}", (bits & fraction) != 0 ? "NaN" : "an infinity",
                                first + static_cast<int64_t>(i)),
                    "such a model computes nothing: take an older state of it");
  }
}

}  // namespace

void require_finite(const std::string& where, std::string_view dtype, std::span<const uint8_t> bytes,
                    int64_t first) {
  if (dtype == "F32") check<uint32_t>(where, bytes, 0x7F800000U, 0x007FFFFFU, first);
  if (dtype == "BF16") check<uint16_t>(where, bytes, 0x7F80U, 0x007FU, first);
  if (dtype == "F16") check<uint16_t>(where, bytes, 0x7C00U, 0x03FFU, first);
}

}  // namespace moe::checkpoint
