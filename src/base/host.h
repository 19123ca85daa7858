// SPDX-License-Identifier: MIT
// What this process calls itself to others.
#pragma once

#include <string>

namespace moe {

std::string host_name();     // of this machine; "localhost" when it has none
std::string process_name();  // "process 4711 on box"

}  // namespace moe
