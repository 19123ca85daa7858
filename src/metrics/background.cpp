// SPDX-License-Identifier: MIT
#include "metrics/background.h"

#include <fmt/format.h>

#include <exception>
#include <utility>

#include "base/start_thread.h"

namespace moe::metrics {

Background::Background(std::unique_ptr<Sink> sink, Terminal& terminal, size_t most, std::string name)
    : sink_(std::move(sink)),
      terminal_(terminal),
      most_(most),
      name_(std::move(name)),
      thread_(start_thread([this] { run(); })) {}

Background::~Background() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
  say_left_out();
}

void Background::post(Job job) {
  bool first_loss = false;
  {
    const std::lock_guard lock(mutex_);
    ++posted_;
    if (jobs_.size() < most_) {
      jobs_.push_back(std::move(job));
    } else {
      first_loss = left_out_++ == 0;
    }
  }
  changed_.notify_all();
  // Not under the lock: the terminal tells its listeners, of which this may be one.
  if (first_loss)
    terminal_.warning(
        fmt::format("{}: its disk or service is stuck, and {} rows and lines wait in memory already: what "
                    "comes now is left "
                    "out there; metrics.jsonl has every row",
                    name_, most_));
}

void Background::write(const Row& row) {
  post([row](Sink& sink) { sink.write(row); });
}

void Background::told(const std::string& text) {
  post([text](Sink& sink) { sink.told(text); });
}

void Background::finish(int exit_code) {
  std::unique_lock lock(mutex_);
  jobs_.emplace_back([exit_code](Sink& sink) { sink.finish(exit_code); });  // however full the queue is
  changed_.notify_all();
  changed_.wait(lock, [this] { return jobs_.empty() && !busy_; });
  lock.unlock();
  say_left_out();
}

void Background::say_left_out() {
  int64_t left_out = 0, posted = 0;
  {
    const std::lock_guard lock(mutex_);
    if (left_out_ == std::exchange(said_, left_out_)) return;
    left_out = left_out_, posted = posted_;
  }
  terminal_.warning(
      fmt::format("{}: {} of {} rows and lines were left out there, because its disk or service was stuck",
                  name_, left_out, posted));
}

int64_t Background::left_out() const {
  const std::lock_guard lock(mutex_);
  return left_out_;
}

void Background::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    const Job job = std::move(jobs_.front());
    jobs_.pop_front();
    busy_ = true;
    lock.unlock();
    try {
      job(*sink_);
    } catch (const std::exception& error) {  // a sink must not throw; if it does, the run still goes on
      terminal_.warning(std::string("metrics: ") + error.what());
    }
    lock.lock();
    busy_ = false;
    changed_.notify_all();
  }
}

}  // namespace moe::metrics
