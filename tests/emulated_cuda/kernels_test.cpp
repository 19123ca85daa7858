// SPDX-License-Identifier: MIT
// Which kernels run on which GPU, that MOE_GPU_KERNELS keeps a Hopper GPU from its own, what is said where
// the GPU cannot be used, and what a profiler is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "backend/backend.h"
#include "base/error.h"
#include "emulated_cuda/nvtx.h"

namespace moe {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// Sets a variable of the environment and puts the old value back.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* const old = std::getenv(name)) old_ = old, had_ = true;
    setenv(name, value, 1);
  }
  ~Variable() { had_ ? setenv(name_, old_.c_str(), 1) : unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::string old_;
  bool had_ = false;
};

std::string description(DeviceKind device = DeviceKind::gpu) {
  return backend::make_backend(device, 1, {DType::bf16}).description;
}

TEST(GpuKernels, HopperHasItsOwn) {
  const Variable kernels("MOE_GPU_KERNELS", "best");
  const Variable hopper("EMULATED_CUDA_GENERATION", "9");
  EXPECT_THAT(description(), HasSubstr("Hopper kernels"));
}

TEST(GpuKernels, OlderGpusRunThePortableOnes) {
  const Variable ampere("EMULATED_CUDA_GENERATION", "8");
  EXPECT_THAT(description(), HasSubstr("portable kernels"));
}

TEST(GpuKernels, HopperCanBeKeptFromItsOwn) {
  const Variable hopper("EMULATED_CUDA_GENERATION", "9");
  const Variable kernels("MOE_GPU_KERNELS", "portable");
  EXPECT_THAT(description(), HasSubstr("portable kernels"));
}

TEST(GpuKernels, TheTypeIsSaidAndWhatItMeansForKernels) {
  const Variable kernels("MOE_GPU_KERNELS", "best");
  const Variable hopper("EMULATED_CUDA_GENERATION", "9");
  const auto said = [](Arithmetic arithmetic) {
    return backend::make_backend(DeviceKind::gpu, 1, arithmetic).description;
  };
  EXPECT_THAT(said({DType::bf16}), AllOf(HasSubstr(", bf16, "), HasSubstr("Hopper kernels")));
  EXPECT_THAT(said({DType::f16}), AllOf(HasSubstr(", f16, "), HasSubstr("Hopper kernels")));
  EXPECT_THAT(said({DType::f32}), AllOf(HasSubstr(", f32, "), HasSubstr("plain f32 kernels")));
  EXPECT_THAT(said({DType::f32, true}), HasSubstr("TF32 matrix products"));
  EXPECT_THAT(backend::make_backend(DeviceKind::cpu, 1, {DType::f32, true}).description,
              HasSubstr("f32 (a CPU has no TF32)"));
}

TEST(GpuKernels, OtherNamesAreRefused) {
  const Variable kernels("MOE_GPU_KERNELS", "fast");
  EXPECT_THROW(description(), UserError);
}

TEST(GpuState, AutoTakesTheGpu) {
  EXPECT_THAT(description(DeviceKind::automatic), HasSubstr("emulated GPU"));
}

TEST(GpuState, AutoSaysWhyItTakesTheCpu) {
  const Variable driver("EMULATED_CUDA_DRIVER", "12040");
  EXPECT_THAT(description(DeviceKind::automatic),
              AllOf(HasSubstr("CPU"), HasSubstr("driver is too old: it supports CUDA 12.4")));
}

TEST(GpuState, AutoTakesTheCpuWithoutTheLibraryOfProducts) {
  const Variable missing("EMULATED_CUBLASLT_MISSING", "1");
  EXPECT_THAT(description(DeviceKind::automatic),
              AllOf(HasSubstr("CPU"), HasSubstr("not on a GPU: cuBLASLt is missing (`moe doctor` says")));
}

TEST(GpuState, NoDriverIsNotAnOldOne) {
  const Variable driver("EMULATED_CUDA_DRIVER", "0");
  EXPECT_THAT(description(DeviceKind::automatic), HasSubstr("no NVIDIA driver is installed"));
}

TEST(GpuState, AGpuThatIsTooOldIsNamed) {
  const Variable volta("EMULATED_CUDA_GENERATION", "7");
  EXPECT_THAT(description(DeviceKind::automatic), HasSubstr("emulated GPU has compute capability 7.0"));
}

TEST(GpuState, AskedForAndNotThereIsAnError) {
  const Variable driver("EMULATED_CUDA_DRIVER", "0");
  try {
    description(DeviceKind::gpu);
    FAIL() << "no error";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("no NVIDIA driver"), HasSubstr("training.device=cpu")));
  }
}

TEST(GpuRanges, EachOperationIsMarked) {
  const Variable marked("MOE_NVTX", "1");
  const backend::Backend backend = backend::make_backend(DeviceKind::gpu, 1);
  void* const memory = backend.device->allocate(24);
  const Tensor a(memory, DType::f32, {1, 2}), b(static_cast<float*>(memory) + 2, DType::f32, {1, 2}),
      c(static_cast<float*>(memory) + 4, DType::f32, {1, 1});
  emulated_cuda::take_ranges();
  backend.ops->fill(a, 1);
  backend.ops->matmul(c, a, b, MatmulLayout::NT, false);
  backend.device->release(memory);
  EXPECT_THAT(emulated_cuda::take_ranges(), ElementsAre("fill", "end", "matmul NT 1x1x2", "end"));
}

TEST(GpuRanges, NothingIsMarkedWithoutAProfiler) {
  unsetenv("MOE_NVTX");
  EXPECT_THAT(description(), Not(HasSubstr("profiler")));
}

}  // namespace
}  // namespace moe
