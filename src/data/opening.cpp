// SPDX-License-Identifier: MIT
#include "data/opening.h"

#include <utility>

#include "base/start_thread.h"
#include "net/stop_scope.h"

namespace moe::data {

Opening::Opening(const DataConfig& config, Terminal& terminal, std::stop_token stop)
    : stopped_outside_(std::move(stop), [this] { stop_.request_stop(); }) {
  std::packaged_task<std::shared_ptr<const Source>()> task([config, &terminal, token = stop_.get_token()] {
    const net::StopScope scope(token);
    return open_training_source(config, terminal);
  });
  source_ = task.get_future();
  thread_ = start_thread<std::jthread>(std::move(task));
}

Opening::~Opening() {
  stop_.request_stop();
}

}  // namespace moe::data
