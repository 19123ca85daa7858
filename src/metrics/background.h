// SPDX-License-Identifier: MIT
// A sink on a thread of its own: the caller only puts a copy into a queue, whatever the disk behind the sink
// does. The queue is bounded: when a disk has been stuck for so long that it is full, what comes is left out,
// and how much that was is said at the end.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "base/terminal.h"
#include "metrics/sink.h"

namespace moe::metrics {

class Background final : public Sink {
 public:
  static constexpr size_t kMost = 4096;  // rows and lines in the queue

  // The sink is used by one thread at a time, and destroyed by this object's destructor after the queue is
  // empty. name: of the sink, for the words.
  Background(std::unique_ptr<Sink> sink, Terminal& terminal, size_t most = kMost,
             std::string name = "metrics");
  ~Background() override;
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  // Any thread; return at once.
  void write(const Row& row) override;
  void told(const std::string& text) override;
  // Waits for the queue, then for the sink's finish().
  void finish(int exit_code) override;

  int64_t left_out() const;

 private:
  using Job = std::function<void(Sink&)>;
  void post(Job job);
  void run();
  void say_left_out();

  std::unique_ptr<Sink> sink_;
  Terminal& terminal_;
  const size_t most_;
  const std::string name_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  bool busy_ = false, ending_ = false;
  int64_t posted_ = 0, left_out_ = 0, said_ = 0;
  std::thread thread_;
};

}  // namespace moe::metrics
