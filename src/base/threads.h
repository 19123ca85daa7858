// SPDX-License-Identifier: MIT
// A pool of threads with one verb, parallel_for. Work is cut into chunks by size alone, never by the number
// of threads, so results do not depend on how many threads run. Not OpenMP: its runtime hides races from
// tsan.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace moe {

// Cores this process may run on (affinity and container limits honoured); at least 1.
int available_cores();

class ThreadPool {
 public:
  // threads: workers including the caller; 0 means available_cores().
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(threads_.size()) + 1; }

  // Calls body(begin, end) for chunks [i*grain, min((i+1)*grain, count)) of [0, count), in any order, on any
  // thread; returns when all are done. The first exception is rethrown here. Allocates nothing. Not
  // reentrant: body must not call parallel_for on the same pool, and one thread drives the pool at a time.
  template <class Body>
  void parallel_for(int64_t count, int64_t grain, Body&& body) {
    run(
        count, grain,
        [](void* context, int64_t begin, int64_t end) {
          (*static_cast<std::remove_reference_t<Body>*>(context))(begin, end);
        },
        const_cast<void*>(static_cast<const void*>(&body)));
  }

 private:
  using Task = void (*)(void* context, int64_t begin, int64_t end);

  void run(int64_t count, int64_t grain, Task task, void* context);
  void worker();
  void take_chunks();

  std::vector<std::thread> threads_;
  std::atomic<uint32_t> round_{0};  // odd or even does not matter: a change means new work or stop
  std::atomic<int32_t> busy_{0};    // workers that have not yet finished this round
  std::atomic<int64_t> next_{0};    // next chunk
  std::atomic<bool> stop_{false};
  int64_t count_ = 0, grain_ = 1;
  Task task_ = nullptr;
  void* context_ = nullptr;
  std::mutex error_mutex_;
  std::exception_ptr error_;
};

}  // namespace moe
