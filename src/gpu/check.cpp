// SPDX-License-Identifier: MIT
#include "gpu/check.h"

#include <string>

#include "base/error.h"

namespace moe::gpu {

void fail_cuda(const char* file, int line, const char* call, cudaError_t error) {
  (void)cudaGetLastError();  // leave no stale error behind for the next launch to report
  if (error == cudaErrorMemoryAllocation)
    throw UserError("GPU memory", "room for this allocation", "out of memory",
                    "lower training.batch_size, or free the GPU of other programs (nvidia-smi lists them)");
  fail_check(file, line, call, std::string(cudaGetErrorName(error)) + ": " + cudaGetErrorString(error));
}

}  // namespace moe::gpu
