// SPDX-License-Identifier: MIT
// Named ranges in the timeline of Nsight Systems and its kin. Under training.cuda_graph a micro-batch is
// replayed as one graph, so only its first two runs show operations; training.cuda_graph=false shows them in
// every step.
#pragma once

namespace moe::gpu {

// Whether a profiler listens (it says so in the environment), or MOE_NVTX is 1.
bool profiled();
void begin_range(const char* name);
void end_range();

}  // namespace moe::gpu
