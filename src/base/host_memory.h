// SPDX-License-Identifier: MIT
// How much memory this process may take: of the machine, or of the container it is in if that has less.
#pragma once

#include <cstdint>

namespace moe {

int64_t host_memory_total();
int64_t machine_memory_total();   // whatever the container has
int64_t host_memory_available();  // free, reclaimable caches included

}  // namespace moe
