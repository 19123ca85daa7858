// SPDX-License-Identifier: MIT
#include "base/threads.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/start_thread.h"

namespace moe {
namespace {

// A worker looks this many times for new work before it sleeps: a training step calls parallel_for every few
// tens of microseconds, and a sleep and wake costs about as much.
constexpr int kSpins = 2000;

// Container limit of control groups v2: "max 100000" or "<quota> <period>".
int cgroup_cores() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return 1 << 20;
  return std::max(1, static_cast<int>(std::lround(std::stod(quota) / period)));
}

void end_workers(std::atomic<bool>& stop, std::atomic<uint32_t>& round, std::vector<std::thread>& threads) {
  stop.store(true);
  round.fetch_add(1);
  round.notify_all();
  for (auto& thread : threads) thread.join();
}

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int cores = sched_getaffinity(0, sizeof(set), &set) == 0
                        ? CPU_COUNT(&set)
                        : static_cast<int>(std::thread::hardware_concurrency());
  return std::max(1, std::min(cores, cgroup_cores()));
}

ThreadPool::ThreadPool(int threads) {
  const int total = threads > 0 ? threads : available_cores();
  try {
    threads_.reserve(static_cast<size_t>(total - 1));  // a thread without a place would end the process
    for (int i = 1; i < total; ++i) threads_.push_back(start_thread([this] { worker(); }));
  } catch (...) {
    end_workers(stop_, round_, threads_);
    throw;
  }
}

ThreadPool::~ThreadPool() {
  end_workers(stop_, round_, threads_);
}

void ThreadPool::take_chunks() {
  try {
    for (;;) {
      const int64_t begin = next_.fetch_add(1, std::memory_order_relaxed) * grain_;
      if (begin >= count_) return;
      task_(context_, begin, std::min(begin + grain_, count_));
    }
  } catch (...) {
    const std::lock_guard lock(error_mutex_);
    if (!error_) error_ = std::current_exception();
    next_.store(count_, std::memory_order_relaxed);  // the others stop at their next chunk
  }
}

void ThreadPool::worker() {
  uint32_t seen = 0;
  for (;;) {
    for (int spin = 0; round_.load(std::memory_order_acquire) == seen && spin < kSpins; ++spin) pause();
    round_.wait(seen, std::memory_order_acquire);
    seen = round_.load(std::memory_order_acquire);
    if (stop_.load()) return;
    take_chunks();
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_one();
  }
}

void ThreadPool::run(int64_t count, int64_t grain, Task task, void* context) {
  CHECK(grain > 0);
  if (count <= 0) return;
  if (threads_.empty() || count <= grain) {
    for (int64_t begin = 0; begin < count; begin += grain)
      task(context, begin, std::min(begin + grain, count));
    return;
  }
  count_ = count;
  grain_ = grain;
  task_ = task;
  context_ = context;
  next_.store(0, std::memory_order_relaxed);
  busy_.store(static_cast<int32_t>(threads_.size()), std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  take_chunks();
  for (int spin = 0; spin < kSpins && busy_.load(std::memory_order_acquire) != 0; ++spin) pause();
  for (int32_t left = busy_.load(std::memory_order_acquire); left != 0;
       left = busy_.load(std::memory_order_acquire))
    busy_.wait(left, std::memory_order_acquire);
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

}  // namespace moe
