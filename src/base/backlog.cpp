// SPDX-License-Identifier: MIT
#include "base/backlog.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/format.h"

namespace moe {

bool append_whole(int descriptor, std::string_view bytes, int64_t& size) {
  for (std::string_view rest = bytes; !rest.empty();) {
    const ssize_t written = ::write(descriptor, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int reason = errno;
      // Half a record would spoil the file for its readers. What cannot be cut is a device, and no file to
      // spoil.
      [[maybe_unused]] const int cut_back = ::ftruncate(descriptor, size);
      errno = reason;
      return false;
    }
    rest.remove_prefix(static_cast<size_t>(written));
  }
  size += std::ssize(bytes);
  return true;
}

Backlog::Backlog(std::string where, std::string records, std::function<bool(std::string_view)> write,
                 Terminal& terminal, int64_t most)
    : where_(std::move(where)),
      records_(std::move(records)),
      write_(std::move(write)),
      terminal_(terminal),
      most_(most) {}

Backlog::~Backlog() {
  finish();
}

// The counts are right before a word is said: the terminal tells its listeners, which may add to this very
// file.
bool Backlog::add(std::string record) {
  finished_ = false;
  ++added_;
  const bool waits = !waiting_.empty();
  const auto size = std::ssize(record);
  if (waits && bytes_ + size > most_ && !drain()) {
    if (lost_++ == 0)
      terminal_.warning(
          fmt::format("{}: the disk still takes no more, and {} of {} wait in memory already: "
                      "what comes now is lost",
                      where_, format_bytes(static_cast<double>(bytes_)), records_));
    return false;
  }
  waiting_.push_back(std::move(record));
  bytes_ += size;
  if (drain() || waits) return true;
  const std::string reason = std::generic_category().message(errno);
  terminal_.warning(
      fmt::format("{}: cannot write ({}); the run goes on, and up to {} of {} wait in memory for room",
                  where_, reason, format_bytes(static_cast<double>(most_)), records_));
  return true;
}

// True when nothing waits any more.
bool Backlog::drain() {
  for (; !waiting_.empty(); waiting_.pop_front()) {
    if (!write_(waiting_.front())) {
      late_ = true;
      return false;
    }
    bytes_ -= std::ssize(waiting_.front());
  }
  if (std::exchange(late_, false))
    terminal_.line(
        fmt::format("{}: there is room again; the {} that waited in memory are written", where_, records_));
  return true;
}

void Backlog::finish() {
  if (std::exchange(finished_, true)) return;
  if (!drain()) lost_ += std::ssize(waiting_);
  waiting_.clear();
  if (lost_ > 0)
    terminal_.warning(fmt::format("{}: {} of {} {} are lost, because the disk took no more", where_, lost_,
                                  added_, records_));
}

}  // namespace moe
