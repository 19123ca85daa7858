// SPDX-License-Identifier: MIT
// What a GPU can do at most, for the utilisation in the metrics ("mfu").
#pragma once

#include <optional>
#include <string_view>

namespace moe::train {

// Dense bf16 floating-point operations a second by the maker's data sheet, for a device whose name has a GPU
// we know. None for others, for a CPU, and without bf16 (products in f32 have no one figure).
std::optional<double> peak_flops(std::string_view device_name, bool bf16);

}  // namespace moe::train
