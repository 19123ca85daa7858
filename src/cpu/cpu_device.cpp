// SPDX-License-Identifier: MIT
#include "cpu/cpu_device.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "base/error.h"
#include "base/host_memory.h"

namespace moe::cpu {
namespace {

constexpr size_t kAlignment = 256, kLargePage = size_t{2} << 20;

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line))
    if (line.rfind("model name", 0) == 0 && line.find(": ") != std::string::npos)
      return line.substr(line.find(": ") + 2);
  return "unknown processor";
}

std::string gigabytes(int64_t bytes) {
  return fmt::format("{:.2f} GB", static_cast<double>(bytes) * 1e-9);
}

}  // namespace

CpuDevice::CpuDevice(int threads) : threads_(threads) {}

std::string CpuDevice::name() const {
  return fmt::format("CPU ({}, {} thread{})", processor_name(), threads_, threads_ == 1 ? "" : "s");
}

int64_t CpuDevice::memory_total() const {
  return host_memory_total();
}

int64_t CpuDevice::memory_available() const {
  return host_memory_available();
}

void* CpuDevice::allocate(int64_t bytes) {
  CHECK(bytes >= 0);
  // Asked first: Linux hands out more than there is, and ends the process later.
  const int64_t available = memory_available();
  const size_t alignment = static_cast<size_t>(bytes) >= kLargePage ? kLargePage : kAlignment;
  const size_t size = (static_cast<size_t>(bytes) + alignment - 1) / alignment * alignment;
  void* memory = bytes <= available ? std::aligned_alloc(alignment, std::max(size, alignment)) : nullptr;
  if (memory == nullptr)
    throw UserError("memory of the CPU", gigabytes(bytes) + " free", gigabytes(available) + " free",
                    "use a smaller model.* or training.batch_size; `moe plan` shows what takes the memory");
  // Where the system leaves pages of 2 MiB to those who ask: matrices that pass through once are read faster
  // (decision 1). It may say no; nothing else changes.
  if (alignment == kLargePage) static_cast<void>(madvise(memory, size, MADV_HUGEPAGE));
  std::memset(memory, 0, size);
  return memory;
}

void CpuDevice::release(void* memory) {
  std::free(memory);
}

void* CpuDevice::allocate_host(int64_t bytes) {
  return allocate(bytes);
}

void CpuDevice::release_host(void* memory) {
  release(memory);
}

void CpuDevice::to_device(Tensor dst, const void* src) {
  if (dst.bytes() > 0) std::memcpy(dst.data(), src, static_cast<size_t>(dst.bytes()));
}

void CpuDevice::to_host(void* dst, const Tensor& src) {
  if (src.bytes() > 0) std::memcpy(dst, src.data(), static_cast<size_t>(src.bytes()));
}

}  // namespace moe::cpu
