// SPDX-License-Identifier: MIT
// /proc/self/stat has the time of the start, in ticks since the machine's own start (proc(5), "starttime").
#include "base/process_age.h"

#include <unistd.h>

#include <ctime>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

namespace moe {

std::optional<double> process_age() {
  constexpr int kFieldsBefore = 19;  // between the program's name, in parentheses, and the time
  std::ifstream file("/proc/self/stat");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_end + 1));
  std::string skipped;
  for (int i = 0; i < kFieldsBefore; ++i) fields >> skipped;
  double start = 0;
  timespec now{};
  const auto ticks_of_second = static_cast<double>(sysconf(_SC_CLK_TCK));
  if (!(fields >> start) || ticks_of_second <= 0 || clock_gettime(CLOCK_BOOTTIME, &now) != 0)
    return std::nullopt;
  const double age =
      static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec) - start / ticks_of_second;
  return age < 0 ? std::nullopt : std::optional(age);
}

}  // namespace moe
