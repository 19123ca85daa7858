// SPDX-License-Identifier: MIT
#include "base/host.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

namespace moe {

std::string host_name() {
  utsname names{};
  return uname(&names) == 0 ? names.nodename : "localhost";
}

std::string process_name() {
  return fmt::format("process {} on {}", getpid(), host_name());
}

}  // namespace moe
