// SPDX-License-Identifier: MIT
#include "hub/keeper.h"

#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/format.h"
#include "base/start_thread.h"

namespace moe::hub {

// Reads elsewhere from one moment on; the bytes are the same.
class Keeper::Switch : public Input {
 public:
  explicit Switch(std::shared_ptr<const Input> input)
      : Input(input->name()), size_(input->size()), input_(std::move(input)) {}

  int64_t size() const override { return size_; }
  void turn_to(std::shared_ptr<const Input> input) const {
    const std::lock_guard lock(mutex_);
    input_ = std::move(input);
  }

 private:
  void read_exactly(int64_t begin, char* data, size_t count) const override {
    const auto input = [this] {
      const std::lock_guard lock(mutex_);
      return input_;
    }();
    const std::string bytes = input->read(begin, begin + static_cast<int64_t>(count));
    CHECK(bytes.size() == count, "a short read of " + name());
    std::memcpy(data, bytes.data(), count);
  }

  const int64_t size_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const Input> input_;
};

Keeper::Keeper(Hub& hub, net::Client& client, int64_t limit, Hub::Event on_event)
    : hub_(hub),
      client_(client),
      limit_(limit),
      on_event_(std::move(on_event)),
      thread_(start_thread<std::jthread>([this](const std::stop_token& stop) { work(stop); })) {}

Keeper::~Keeper() = default;

std::shared_ptr<const Input> Keeper::open(const Address& address, const File& file) {
  if (auto input = hub_.cache().open(address, hub_.commit(address), file)) return input;
  auto input = std::make_shared<const Switch>(hub_.open(address, file));
  if (file.oid.empty()) return input;  // nothing to call it by
  const std::lock_guard lock(mutex_);
  requests_.push_back({address, file, input});
  changed_.notify_one();
  return input;
}

void Keeper::work(const std::stop_token& stop) {
  const net::StopScope scope(stop);
  for (;;) {
    Request request;
    {
      std::unique_lock lock(mutex_);
      if (!changed_.wait(lock, stop, [this] { return !requests_.empty(); })) return;
      request = std::move(requests_.front());
      requests_.pop_front();
    }
    try {
      fulfil(request);
    } catch (const net::Cancelled&) {
      return;
    } catch (const UserError& error) {
      tell(request, fmt::format("not kept, read from the hub as before: {}", error.what()));
    }
  }
}

void Keeper::fulfil(const Request& request) {
  if (request.input.expired()) return;
  if (request.file.size > limit_)
    return tell(request, fmt::format("not kept: its {} are more than data.hub_cache_gb",
                                     format_bytes(static_cast<double>(request.file.size))));
  const std::string commit = hub_.commit(request.address);
  const FileLock turn = wait_for_turn();
  Cache& cache = hub_.cache();
  auto kept = cache.open(request.address, commit, request.file);  // another process may have brought it
  if (!kept) {
    cache.prune(limit_ - cache.missing_bytes(request.address, request.file));
    if (cache.fetched_bytes() + cache.missing_bytes(request.address, request.file) > limit_)
      return tell(request, "not kept: data.hub_cache_gb is taken up by files in use");
    hub_.download(request.address, request.file);
    kept = cache.open(request.address, commit, request.file);
  }
  if (const auto input = request.input.lock(); input && kept) input->turn_to(std::move(kept));
}

// Room that was made must still be there when the bytes come: so one at a time, over all processes.
FileLock Keeper::wait_for_turn() {
  constexpr double kPause = 0.2;
  const auto path = hub_.cache().folder() / ".locks" / "moe-keeper.lock";
  for (;;) {
    if (auto lock = FileLock::try_lock(path)) return std::move(*lock);
    client_.wait(kPause);
  }
}

void Keeper::tell(const Request& request, const std::string& line) const {
  if (on_event_) on_event_(request.file.path + ": " + line);
}

}  // namespace moe::hub
