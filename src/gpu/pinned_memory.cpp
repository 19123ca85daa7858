// SPDX-License-Identifier: MIT
#include "gpu/pinned_memory.h"

#include <cuda_runtime.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <thread>
#include <vector>

#include "base/start_thread.h"
#include "gpu/check.h"

namespace moe::gpu {
namespace {

constexpr size_t kPage = 4 << 10, kHugePage = 2 << 20;
constexpr size_t kOfThread = 256 << 20;  // the least that is worth a thread
constexpr size_t kPiece = 16 << 20;      // touched at once
constexpr size_t kMostThreads = 8;       // more are no faster: 0.7 s for 10 GiB

size_t whole_pages(size_t bytes) {
  return (bytes + kHugePage - 1) / kHugePage * kHugePage;
}

// In pieces: Linux keeps the process's map of memory while it takes one, and who wants to change the map
// waits, also in malloc() or when CUDA loads a kernel.
void touch(char* begin, size_t bytes) {
  for (size_t piece = 0; piece < bytes; piece += kPiece) {
    const size_t size = std::min(kPiece, bytes - piece);
#ifdef MADV_POPULATE_WRITE
    if (madvise(begin + piece, size, MADV_POPULATE_WRITE) == 0) continue;
#endif
    for (size_t at = 0; at < size; at += kPage)
      *static_cast<volatile char*>(begin + piece + at) = 0;  // before Linux 5.14
  }
}

void touch_in_threads(char* memory, size_t bytes) {
  const size_t threads = std::clamp<size_t>(
      bytes / kOfThread, 1, std::clamp<size_t>(std::thread::hardware_concurrency(), 1, kMostThreads));
  const size_t part = whole_pages(bytes / threads);
  std::vector<std::jthread> others;
  for (size_t at = part; at < bytes; at += part)
    others.push_back(start_thread<std::jthread>([=] { touch(memory + at, std::min(part, bytes - at)); }));
  touch(memory, std::min(part, bytes));
}

}  // namespace

void* take_pinned(size_t bytes) {
  const size_t size = whole_pages(bytes);
  void* const mapped =
      mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  // What lies before and behind the whole pages is given back.
  auto* const begin = static_cast<char*>(mapped);
  auto* const memory = begin + (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
  if (memory != begin) munmap(begin, static_cast<size_t>(memory - begin));
  if (const auto behind = static_cast<size_t>(begin + kHugePage - memory); behind > 0)
    munmap(memory + size, behind);
  madvise(memory, size, MADV_HUGEPAGE);  // without such pages it is only slower
  touch_in_threads(memory, size);
  if (cudaHostRegister(memory, size, cudaHostRegisterDefault) == cudaSuccess) return memory;
  (void)cudaGetLastError();
  munmap(memory, size);
  return nullptr;
}

void release_pinned(void* memory, size_t bytes) {
  CUDA_CHECK(cudaHostUnregister(memory));
  munmap(memory, whole_pages(bytes));
}

}  // namespace moe::gpu
