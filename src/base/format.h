// SPDX-License-Identifier: MIT
// Numbers for people: three significant digits and a unit.
#pragma once

#include <string>

namespace moe {

constexpr double kGiB = 1024.0 * 1024 * 1024;  // bytes

std::string format_count(double count);       // 950, 1.73 B (K, M, B, T: powers of 1000)
std::string format_bytes(double bytes);       // 950 B, 1.73 GiB (powers of 1024)
std::string format_duration(double seconds);  // 850 us, 85.0 ms, 12.3 s, 3 min 05 s, 2 h 07 min, 3 d 04 h

}  // namespace moe
