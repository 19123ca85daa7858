// SPDX-License-Identifier: MIT
#include "gpu/gpu_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/format.h"
#include "base/host_memory.h"
#include "gpu/check.h"
#include "gpu/pinned_memory.h"

namespace moe::gpu {
namespace {

constexpr int kOldest = 80;  // compute capability 8.0: bf16 matrix units and asynchronous copies

std::string version(int number) {
  return fmt::format("{}.{}", number / 1000, number % 1000 / 10);
}

}  // namespace

std::string why_unusable(int number) {
  int count = 0, driver = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorInsufficientDriver) {  // what there is without any driver, too
    (void)cudaGetLastError();
    CUDA_CHECK(cudaDriverGetVersion(&driver));
    if (driver == 0) return "no NVIDIA driver is installed";
    // Of CUDA's releases with the same first number, an older driver runs each.
    return fmt::format("the NVIDIA driver is too old: it supports CUDA {}, and this program needs {}",
                       version(driver), version(CUDART_VERSION / 1000 * 1000));
  }
  if (error == cudaErrorNoDevice) {
    (void)cudaGetLastError();
    return "the NVIDIA driver sees no GPU";
  }
  CUDA_CHECK(error);
  if (number >= count) return fmt::format("the NVIDIA driver sees {} GPUs", count);
  cudaDeviceProp gpu{};
  CUDA_CHECK(cudaGetDeviceProperties(&gpu, number));
  if (gpu.major * 10 + gpu.minor >= kOldest) return "";
  return fmt::format("{} has compute capability {}.{}, and 8.0 (Ampere) is the oldest supported", gpu.name,
                     gpu.major, gpu.minor);
}

GpuDevice::GpuDevice(int number) : number_(number) {
  const std::string reason = why_unusable(number);
  if (!reason.empty())
    throw UserError("training.device", fmt::format("an NVIDIA GPU of number {} that CUDA can use", number),
                    reason, "`moe doctor` says what is missing; training.device=cpu trains without");
  CUDA_CHECK(cudaSetDevice(number));
  CUDA_CHECK(cudaGetDeviceProperties(&properties_, number));
  CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  for (Slot& slot : slots_) {
    CUDA_CHECK(cudaMallocHost(&slot.memory, kSlotBytes));
    CUDA_CHECK(cudaEventCreate(&slot.free));
  }
}

GpuDevice::~GpuDevice() {
  (void)cudaStreamSynchronize(stream_);
  for (const Slot& slot : slots_) {
    (void)cudaEventDestroy(slot.free);
    (void)cudaFreeHost(slot.memory);
  }
  (void)cudaStreamDestroy(stream_);
}

std::string GpuDevice::name() const {
  int runtime = 0, driver = 0;
  CUDA_CHECK(cudaRuntimeGetVersion(&runtime));
  CUDA_CHECK(cudaDriverGetVersion(&driver));
  return fmt::format("{} (sm_{}{}, {} SMs, CUDA {}, driver {})", properties_.name, properties_.major,
                     properties_.minor, properties_.multiProcessorCount, version(runtime), version(driver));
}

int64_t GpuDevice::memory_total() const {
  return static_cast<int64_t>(properties_.totalGlobalMem);
}

int64_t GpuDevice::memory_available() const {
  size_t free = 0, total = 0;
  CUDA_CHECK(cudaMemGetInfo(&free, &total));
  return static_cast<int64_t>(free);
}

void* GpuDevice::allocate(int64_t bytes) {
  void* memory = nullptr;
  const auto size = static_cast<size_t>(std::max<int64_t>(bytes, 1));
  CUDA_CHECK(cudaMalloc(&memory, size));
  CUDA_CHECK(cudaMemsetAsync(memory, 0, size, stream_));
  return memory;
}

void GpuDevice::release(void* memory) {
  synchronize();  // nothing may still use it
  CUDA_CHECK(cudaFree(memory));
}

void* GpuDevice::allocate_host(int64_t bytes) {
  CUDA_CHECK(cudaSetDevice(number_));  // the calling thread may be a new one
  // Asked first: pinned memory cannot be given back under pressure, and Linux would end a process instead.
  const int64_t available = host_memory_available();
  const auto size = static_cast<size_t>(std::max<int64_t>(bytes, 1));
  void* const memory = bytes > available ? nullptr : take_pinned(size);
  if (memory == nullptr) {
    throw UserError("pinned memory of the host", format_bytes(static_cast<double>(bytes)),
                    format_bytes(static_cast<double>(available)) + " free");
  }
  const std::lock_guard lock(pinned_mutex_);
  pinned_.emplace(memory, size);
  return memory;
}

void GpuDevice::release_host(void* memory) {
  synchronize();
  const std::lock_guard lock(pinned_mutex_);
  const auto found = pinned_.find(memory);
  CHECK(found != pinned_.end());
  release_pinned(memory, found->second);
  pinned_.erase(found);
}

void GpuDevice::to_device(Tensor dst, const void* src) {
  auto* to = static_cast<char*>(dst.data());
  const auto* from = static_cast<const char*>(src);
  for (auto left = static_cast<size_t>(dst.bytes()); left > 0;) {
    const size_t part = std::min(left, kSlotBytes);
    Slot& slot = slots_[next_slot_];
    next_slot_ = (next_slot_ + 1) % slots_.size();
    CUDA_CHECK(cudaEventSynchronize(slot.free));  // waits only when four uploads are still under way
    std::memcpy(slot.memory, from, part);
    CUDA_CHECK(cudaMemcpyAsync(to, slot.memory, part, cudaMemcpyHostToDevice, stream_));
    CUDA_CHECK(cudaEventRecord(slot.free, stream_));
    to += part;
    from += part;
    left -= part;
  }
}

void GpuDevice::to_host(void* dst, const Tensor& src) {
  CUDA_CHECK(
      cudaMemcpyAsync(dst, src.data(), static_cast<size_t>(src.bytes()), cudaMemcpyDeviceToHost, stream_));
  synchronize();
}

void GpuDevice::synchronize() {
  CUDA_CHECK(cudaStreamSynchronize(stream_));
}

std::optional<double> GpuDevice::joules() {
  if (!nvml_) {  // not sooner: opening it takes time that only `moe bench` has
    nvml_.emplace();
    nvml_gpu_ = nvml_->gpu_at(fmt::format("{:08x}:{:02x}:{:02x}.0", properties_.pciDomainID,
                                          properties_.pciBusID, properties_.pciDeviceID));
  }
  return nvml_->joules(nvml_gpu_);
}

}  // namespace moe::gpu
