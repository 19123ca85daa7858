// SPDX-License-Identifier: MIT
// The text of a run, opened on a thread of its own beside what else a run needs: of files in many places, or
// behind a network, that takes a second.
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <stop_token>
#include <thread>

#include "base/terminal.h"
#include "data/config.h"
#include "data/source.h"

namespace moe::data {

class Opening {
 public:
  // Begins. stop: ends all waiting, as net::StopScope has it. The terminal must outlive the source.
  Opening(const DataConfig& config, Terminal& terminal, std::stop_token stop);
  // Ends what nobody has asked for.
  ~Opening();
  Opening(const Opening&) = delete;
  Opening& operator=(const Opening&) = delete;

  // Once: waits; what open_training_source() returns or throws.
  std::shared_ptr<const Source> get() { return source_.get(); }

 private:
  std::stop_source stop_;
  std::stop_callback<std::function<void()>> stopped_outside_;
  std::future<std::shared_ptr<const Source>> source_;
  std::jthread thread_;
};

}  // namespace moe::data
