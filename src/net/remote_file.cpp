// SPDX-License-Identifier: MIT
#include "net/remote_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

namespace moe::net {
namespace {

// Leases refused without one answer until it is final. Not the first: other readers may have used it up
// already.
constexpr int kUnserved = 3;

bool is_refusal(long status) {
  return status == 401 || status == 403 || status == 410;
}

}  // namespace

RemoteFile::RemoteFile(Client& client, std::string name, Resolver resolver, RemoteIdentity identity)
    : Input(std::move(name)),
      client_(client),
      resolver_(std::move(resolver)),
      identity_(std::move(identity)) {}

RemoteFile::RemoteFile(Client& client, RemoteAddress address, RemoteIdentity identity)
    : Input(address.url.shown), client_(client), identity_(std::move(identity)) {
  lease_.address = std::move(address);
  lease_.validator = identity_.validator;
  lease_.generation = 1;
}

void RemoteFile::resolve() const {
  client_.counters().resolves++;
  lease_.address = resolver_();
  lease_.validator = identity_.validator;
  lease_.generation++;
  lease_.served = false;
}

RemoteFile::Lease RemoteFile::lease() const {
  const std::lock_guard lock(mutex_);
  if (lease_.generation == 0) resolve();
  return lease_;
}

void RemoteFile::remember(uint64_t generation, const std::string& validator) const {
  const std::lock_guard lock(mutex_);
  unserved_ = 0;
  if (lease_.generation != generation) return;
  lease_.served = true;
  if (lease_.validator.empty()) lease_.validator = validator;
}

bool RemoteFile::renew(uint64_t generation) const {
  if (!resolver_) return false;
  const std::lock_guard lock(mutex_);
  if (lease_.generation != generation) return true;  // another reader was first
  if (!lease_.served && ++unserved_ == kUnserved) return false;
  resolve();
  return true;
}

// After an outage of its server: true when there is another one.
bool RemoteFile::replace(uint64_t generation) const {
  if (!resolver_) return false;
  const std::lock_guard lock(mutex_);
  if (lease_.generation == generation) resolve();
  return true;
}

// The server of a signed URL may be away while the one that signs knows another.
std::optional<double> RemoteFile::patience_of_lease() const {
  const RetryPolicy& retry = client_.options().retry;
  if (!resolver_) return std::nullopt;
  return std::min(retry.patience, 16 * retry.first_wait);
}

void RemoteFile::stream(int64_t begin, int64_t end, const std::function<void(std::string_view)>& sink) const {
  using Clock = std::chrono::steady_clock;
  CHECK(0 <= begin && begin <= end && end <= size(), "a range outside " + name());
  const RetryPolicy& retry = client_.options().retry;
  Clock::time_point outage = Clock::now();
  const auto seconds_since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  bool changed = false;
  while (begin < end) {
    const Lease held = lease();
    const int64_t start = begin;
    const Clock::time_point asked = Clock::now();
    bool in_sink = false;
    Request request{.url = held.address.url,
                    .bearer = held.address.bearer,
                    .range = Range{begin, end},
                    .validator = held.validator,
                    .total_size = identity_.size,
                    .name = name(),
                    .patience = patience_of_lease(),
                    .sink = [&](std::string_view piece) {
                      in_sink = true;
                      sink(piece);
                      in_sink = false;
                      begin += static_cast<int64_t>(piece.size());
                    }};
    const auto try_another = [&] {
      const auto received = static_cast<double>(begin - start);
      if (received > 0 && received >= retry.least_rate * seconds_since(asked)) outage = Clock::now();
      return seconds_since(outage) < retry.patience && replace(held.generation);
    };
    try {
      const Response response = client_.get(request);
      remember(held.generation, response.validator);
    } catch (const HttpError& error) {
      if (begin > start) remember(held.generation, "");
      if (is_refusal(error.status) ? renew(held.generation) : error.passing() && try_another()) continue;
      throw HttpError(error.status, error.headers,
                      UserError(name(), fmt::format("bytes {}-{}", begin, end - 1),
                                error.found + " from " + error.where, error.hint));
    } catch (const Changed& error) {
      // What was before may have been a damaged head's word: who signs says once more which file it is.
      if (!std::exchange(changed, true) && replace(held.generation)) continue;
      throw UserError(name(), error.expected, error.found + " from " + error.where, error.hint);
    } catch (const Unreachable& error) {
      if (in_sink) throw;
      if (try_another()) continue;
      throw Unreachable(UserError(name(), error.expected, error.found + " from " + error.where, error.hint));
    } catch (const UserError& error) {
      if (in_sink) throw;  // the caller's own: a full disk
      throw UserError(name(), error.expected, error.found + " from " + error.where, error.hint);
    }
  }
}

void RemoteFile::read_exactly(int64_t begin, char* data, size_t count) const {
  stream(begin, begin + static_cast<int64_t>(count), [&](std::string_view piece) {
    std::memcpy(data, piece.data(), piece.size());
    data += piece.size();
  });
}

std::shared_ptr<RemoteFile> open_url(Client& client, const std::string& url) {
  const Url parsed = Url::parse(url);
  Response response;
  try {
    response = client.get({.url = parsed, .method = "HEAD"});
  } catch (const HttpError&) {
    // Some servers, and URLs signed for GET, refuse HEAD only: the next question tells.
  }
  if (!response.ranges || response.total_size < 0) {
    try {
      response = client.get({.url = parsed, .range = Range{0, 1}});
    } catch (const HttpError& error) {
      const auto range = parse_content_range(error.headers.get("Content-Range"));
      if (error.status != 416 || !range || range->total != 0) throw;
      response.total_size = 0;  // an empty file has no first byte
    }
  }
  if (response.total_size < 0)
    throw UserError(parsed.shown, "a file of known size", "a server that does not tell",
                    "download the file and read it locally");
  return std::make_shared<RemoteFile>(
      client, RemoteAddress{.url = parsed},
      RemoteIdentity{.size = response.total_size, .validator = response.validator});
}

}  // namespace moe::net
