// SPDX-License-Identifier: MIT
// Attention on Hopper's matrix units, at head width 64 in bf16; arguments as of Ops. Compiled for sm_90a
// alone.
#pragma once

#include <cuda_runtime.h>

#include "tensor/tensor.h"

namespace moe::gpu {

struct Statistics;

bool sm90_takes_attention(const Tensor& q_NHd);

// next: room for a number.
void sm90_attention_forward(cudaStream_t stream, int num_sms, int* next, Tensor& y_NHd, Tensor& o_NHd,
                            Tensor& lse_NH, const Tensor& q_NHd, const Tensor& k_NGd, const Tensor& packed_NP,
                            const Tensor& doc_start_BT);
// next_2: room for two numbers.
void sm90_attention_backward(cudaStream_t stream, int num_sms, int* next_2, const Statistics& statistics,
                             Tensor& dq_NHd, Tensor& dk_NGd, Tensor& dpacked_NP, const Tensor& do_NHd,
                             const Tensor& q_NHd, const Tensor& k_NGd, const Tensor& packed_NP,
                             const Tensor& doc_start_BT);

}  // namespace moe::gpu
