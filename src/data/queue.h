// SPDX-License-Identifier: MIT
// Bounded queues between threads, which can be closed from either end.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

namespace moe {

// First in, first out.
template <class T>
class Queue {
 public:
  explicit Queue(size_t capacity) : capacity_(capacity) {}

  // Waits for room. False when the queue is closed: the item is dropped.
  bool push(T item) {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return closed_ || items_.size() < capacity_; });
    if (closed_) return false;
    items_.push_back(std::move(item));
    arrived_.notify_one();
    return true;
  }

  // Waits until a push would not wait (with one producer). False when the queue is closed.
  bool wait_for_room() {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return closed_ || items_.size() < capacity_; });
    return !closed_;
  }

  // Waits for an item. Nothing when the queue is closed and empty.
  std::optional<T> pop() {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [&] { return closed_ || !items_.empty(); });
    if (items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    room_.notify_one();
    return item;
  }

  // No more pushes; what is queued can still be popped.
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    room_.notify_all();
    arrived_.notify_all();
  }

  size_t size() const {
    const std::lock_guard lock(mutex_);
    return items_.size();
  }

 private:
  const size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable room_, arrived_;
  std::deque<T> items_;
  bool closed_ = false;
};

// Numbered items come in from many threads in any order and leave in the order 0, 1, 2, ...
template <class T>
class OrderedQueue {
 public:
  explicit OrderedQueue(int64_t capacity) : capacity_(capacity) {}

  // Waits until fewer than `capacity` numbers lie between this one and the next to leave. False when closed.
  bool push(int64_t number, T item) {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return closed_ || number < next_ + capacity_; });
    if (closed_) return false;
    items_.emplace(number, std::move(item));
    if (number == next_) arrived_.notify_one();
    return true;
  }

  // Waits for the next number. Nothing when closed.
  std::optional<T> pop() {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [&] { return closed_ || items_.contains(next_); });
    if (closed_) return std::nullopt;
    std::optional<T> item(std::move(items_.extract(next_).mapped()));
    ++next_;
    room_.notify_all();
    return item;
  }

  // Both ends give up; what is queued is lost.
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    room_.notify_all();
    arrived_.notify_all();
  }

 private:
  const int64_t capacity_;
  std::mutex mutex_;
  std::condition_variable room_, arrived_;
  std::map<int64_t, T> items_;
  int64_t next_ = 0;
  bool closed_ = false;
};

}  // namespace moe
