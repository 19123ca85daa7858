// SPDX-License-Identifier: MIT
// Products of few rows with one weight matrix (few_rows.cuh).
#pragma once

#include <cuda_runtime.h>

#include "tensor/tensor.h"

namespace moe::gpu {

// c = norm(x) w^T + addend + bias, where norm, addend and bias are there.
struct FewRowsMatmul {
  Tensor c_MN;
  const Tensor x_MK, w_NK;
  const Tensor addend_MN = {}, bias_N = {};
  const Tensor norm_K = {};
  float eps = 0;
};

struct ProcessorLimits {
  int num_sms;
  size_t shared_of_processor, shared_of_block;
};

// Queues the product and returns true; false where other kernels are to compute it.
bool few_rows_matmul(cudaStream_t stream, const ProcessorLimits& limits, FewRowsMatmul op);

}  // namespace moe::gpu
