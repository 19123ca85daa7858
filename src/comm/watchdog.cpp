// SPDX-License-Identifier: MIT
#include "comm/watchdog.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/error.h"
#include "base/start_thread.h"

namespace moe::comm {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kVerdict = "verdict";
constexpr int64_t kBeatsToAnswer = 5;
constexpr int64_t kGapMs = 1000;  // longer than it should be between two beats: this process was paused

int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now().time_since_epoch()).count();
}

std::string key_of(int rank) {
  return fmt::format("beat {}", rank);
}

// "collectives begun, beats".
int64_t begun_of(const std::string& beat) {
  int64_t begun = 0;
  std::from_chars(beat.data(), beat.data() + beat.size(), begun);
  return begun;
}

}  // namespace

Watchdog::Watchdog(Store& store, int rank, int size, std::chrono::milliseconds timeout,
                   std::chrono::milliseconds silence, Hooks hooks)
    : store_(store),
      rank_(rank),
      size_(size),
      timeout_(timeout),
      silence_(silence),
      hooks_(std::move(hooks)),
      seen_(static_cast<size_t>(size), Heartbeat{"", Clock::now()}),
      thread_(start_thread([this] { run(); })) {}

Watchdog::~Watchdog() {
  stop_ = true;
  thread_.join();
  try {
    store_.set(key_of(rank_), "done");
  } catch (const UserError&) {
    // Rank 0 was first to end.
  }
}

void Watchdog::begin() {
  begun_at_ = now_ms();
  ++begun_;
}

void Watchdog::tell(const std::string& reason) {
  const std::string message = fmt::format("rank {} of {}: {}; all ranks end", rank_, size_, reason);
  // The first verdict is that of all.
  const bool first = store_.add("verdicts", 1) == 1;
  if (first) store_.set(kVerdict, message);
  end(first ? message : "");
}

void Watchdog::end(const std::string& message) {
  hooks_.end(message);
  stop_ = true;
}

void Watchdog::run() {
  const auto pause = std::min<std::chrono::milliseconds>(silence_ / 10, std::chrono::milliseconds(1000));
  for (int64_t last = now_ms(); !stop_;) {
    // In a pause of this process it is the others who wait.
    const int64_t gap = now_ms() - last - pause.count();
    if (gap > kGapMs) begun_at_ += gap;
    last = now_ms();
    try {
      look();
    } catch (const UserError& error) {
      if (!stop_) end(error.what());  // the store is gone
      return;
    }
    for (auto slept = std::chrono::milliseconds(0); slept < pause && !stop_;
         slept += std::chrono::milliseconds(20))
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

void Watchdog::look() {
  if (store_.get(kVerdict)) return end("");
  if (const std::string error = hooks_.error(); !error.empty()) return tell(error);
  store_.set(key_of(rank_), fmt::format("{} {}", begun_.load(), ++heartbeats_));
  const auto now = Clock::now();
  for (int r = 0; r < (rank_ == 0 ? size_ : 1) && !stop_; ++r)
    if (r != rank_) look_at(r, now);
  if (stop_) return;
  const bool waits = begun_ > 0 && now_ms() - begun_at_ > timeout_.count();
  if (waits && !timeout_suspended_ && !hooks_.idle()) waited_too_long();
}

void Watchdog::look_at(int rank, Clock::time_point now) {
  Heartbeat& beat = seen_[static_cast<size_t>(rank)];
  const std::string text = store_.get(key_of(rank)).value_or("");
  if (text != beat.text || text == "done") {
    beat = {text, now};
  } else if (now - beat.since > silence_) {
    const std::string place = store_.get(fmt::format("here {}", rank)).value_or("");
    tell(fmt::format("no sign of life for {} s from rank {} of {} ({})",
                     std::chrono::duration<double>(silence_).count(), rank, size_, place));
  }
}

std::string Watchdog::name_of(int rank) {
  return fmt::format("rank {} of {} ({})", rank, size_,
                     store_.get(fmt::format("here {}", rank)).value_or(""));
}

void Watchdog::waited_too_long() {
  std::vector<std::string> behind, beats;
  for (int r = 0; r < size_; ++r) {
    beats.push_back(store_.get(key_of(r)).value_or(""));
    if (begun_of(beats.back()) < begun_) behind.push_back(name_of(r));
  }
  if (behind.empty()) return all_wait(std::move(beats));
  tell(fmt::format("no answer for {} s from {}", std::chrono::duration<double>(timeout_).count(),
                   fmt::join(behind, ", ")));
}

// One that is paused says nothing new. If all are alive, one may have been late: it gets as much time again,
// once.
void Watchdog::all_wait(std::vector<std::string> beats) {
  if (std::exchange(asked_for_, begun_.load()) != begun_) {
    asked_.clear();
    all_were_here_ = false;
  }
  if (asked_.empty()) {
    asked_ = std::move(beats);
    asked_at_ = heartbeats_;
    return;
  }
  if (heartbeats_ < asked_at_ + kBeatsToAnswer) return;
  std::vector<std::string> silent;
  for (int r = 0; r < size_; ++r)
    if (r != rank_ && beats[static_cast<size_t>(r)] == asked_[static_cast<size_t>(r)])
      silent.push_back(name_of(r));
  asked_.clear();
  if (silent.empty() && !std::exchange(all_were_here_, true)) {
    begun_at_ = now_ms();
    return;
  }
  tell(fmt::format("no answer for {} s from {}", std::chrono::duration<double>(timeout_).count(),
                   silent.empty() ? "the network: twice all ranks were here, and waited"
                                  : fmt::format("{}", fmt::join(silent, ", "))));
}

}  // namespace moe::comm
