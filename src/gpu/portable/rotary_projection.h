// SPDX-License-Identifier: MIT
// Rotary positions with a norm over the whole projection of queries or keys, or with none.
#pragma once

#include <cuda_runtime.h>

#include "gpu/workspace.h"
#include "ops/attention.h"

namespace moe::gpu {

// op: checked, with tokens, its norm not by head.
void rotate_projections(cudaStream_t stream, QkNormRopeForward op);
// most_blocks: of the grid.
void rotate_projections_backward(cudaStream_t stream, QkNormRopeBackward op, const Workspace& workspace,
                                 int64_t most_blocks);

}  // namespace moe::gpu
