// SPDX-License-Identifier: MIT
// The CUDA implementation of the contract in ops/ops.h: one file per family of operations, with the same
// names as in cpu/. Everything is queued on the device's stream and returns at once. Formulas, shapes and
// bounds are in ops/ and are not repeated here.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gpu/few_rows_matmul.h"
#include "gpu/gemm.h"
#include "gpu/gpu_device.h"
#include "gpu/provider.h"
#include "gpu/workspace.h"
#include "ops/arithmetic.h"
#include "ops/ops.h"

namespace moe::gpu {

// Which kernels may run: the best for the GPU, or only those that every GPU can run, so that a newer GPU
// tests these.
enum class Kernels { best, portable };

class GpuOps final : public Ops {
 public:
  // The device must outlive the object.
  explicit GpuOps(GpuDevice& device, Kernels kernels = Kernels::best, Arithmetic arithmetic = {});

  // "bf16, cuBLASLt 13.0, Hopper kernels": for the start of a run. Activations of another type than the one
  // announced are computed as well.
  std::string describe() const;
  std::vector<std::string> take_notes() { return gemm_.take_notes(); }  // gpu/gemm.h

  std::unique_ptr<CapturedRegion> captured_region() override;  // a CUDA graph

#define MOE_OP(method, Arguments) void method(Arguments op) override;
  MOE_OPS(MOE_OP)
  MOE_COMPOSED_OPS(MOE_OP)
#undef MOE_OP

 private:
  ProcessorLimits limits() const {
    return {num_sms_, shared_of_processor_, shared_of_block_};
  }

  GpuDevice& device_;
  cudaStream_t stream_;
  Arithmetic arithmetic_;
  int num_sms_;                 // streaming multiprocessors
  size_t shared_of_processor_;  // bytes of shared memory that one's blocks have together
  size_t shared_of_block_;      // and that one block can have
  Workspace workspace_;
  Workspace widened_;  // operands that an operation makes for others, which carve workspace_
  std::unique_ptr<Provider> provider_;
  Gemm gemm_;
};

}  // namespace moe::gpu
