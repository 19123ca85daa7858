// SPDX-License-Identifier: MIT
// Operations without a kernel yet.
#include "gpu/gpu_ops.h"

namespace moe::gpu {


}  // namespace moe::gpu
