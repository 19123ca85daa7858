// SPDX-License-Identifier: MIT
// Attention on Hopper's matrix units, at head widths 64 and 128 in bf16 or f16; arguments as of Ops.
// Compiled for sm_90a alone.
#pragma once

#include <cuda_runtime.h>

#include "ops/attention.h"

namespace moe::gpu {

struct Statistics;

bool sm90_takes_attention(const Tensor& q_NHd);

// first_BT: the first key that each token sees (gpu/attention_window.h).
// next: room for a number.
void sm90_attention_forward(cudaStream_t stream, int num_sms, int* next, const int32_t* first_BT,
                            AttentionForward op);
// next_2: room for two numbers.
void sm90_attention_backward(cudaStream_t stream, int num_sms, int* next_2, const Statistics& statistics,
                             AttentionBackward op);

}  // namespace moe::gpu
