// SPDX-License-Identifier: MIT
#include "wandb/uploader.h"

#include <fmt/format.h>

#include <chrono>
#include <exception>
#include <utility>

#include "base/start_thread.h"
#include "base/steady_seconds.h"

namespace moe::wandb {
namespace {

net::ClientOptions client_options() {
  net::ClientOptions options = net::ClientOptions::from_environment();
  options.retry.patience = 0;  // Upload decides
  options.retry.stall_timeout = 60;
  return options;
}

}  // namespace

Uploader::Uploader(Settings settings, const std::filesystem::path& records, bool continued,
                   Terminal& terminal)
    : settings_(std::move(settings)),
      folder_(records.parent_path()),
      terminal_(terminal),
      client_(client_options()),
      upload_(settings_, records, continued, client_, terminal_),
      thread_(start_thread([this] { run(); })) {}

Uploader::~Uploader() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  client_.cancel();
  thread_.join();
}

void Uploader::run() {
  try {
    std::unique_lock lock(mutex_);
    while (!stopping_ && !upload_.done()) {
      if (hurry_) upload_.hurry();
      const bool hurried = hurry_;
      lock.unlock();
      const double wait = upload_.step(steady_seconds());
      lock.lock();
      failing_ = upload_.failing();
      changed_.notify_all();
      changed_.wait_for(lock, std::chrono::duration<double>(hurried && !failing_ ? 0 : wait),
                        [&] { return stopping_ || (hurry_ && !hurried); });
    }
  } catch (const net::Cancelled&) {  // the destructor
  } catch (const std::exception& error) {
    terminal_.warning(std::string("wandb: ") + error.what() + "; training goes on");
  }
  const std::lock_guard lock(mutex_);
  over_ = true;
  changed_.notify_all();
}

void Uploader::finish() {
  std::unique_lock lock(mutex_);
  hurry_ = true;
  changed_.notify_all();
  const double begin = steady_seconds();
  for (;;) {
    const double patience = failing_ ? kPatienceOffline : kPatience;
    const double left = begin + patience - steady_seconds();
    if (over_ || left <= 0) break;
    changed_.wait_for(lock, std::chrono::duration<double>(left));
  }
  const bool over = over_;
  lock.unlock();
  if (over && upload_.complete()) {
    if (!settings_.silent) terminal_.line(fmt::format("wandb     all uploaded: {}", upload_.url()));
  } else {
    terminal_.line(fmt::format("wandb     not all is uploaded; the rest: wandb sync {}", folder_.string()));
  }
}

}  // namespace moe::wandb
