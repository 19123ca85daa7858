// SPDX-License-Identifier: MIT
// The client: when to try again and when to give up, and the pool of connections.
#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "base/random.h"
#include "net/exchange.h"
#include "net/http.h"
#include "net/interrupt.h"
#include "net/transfer.h"

namespace moe::net {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

void start_libcurl() {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  CHECK(started == CURLE_OK, "curl_global_init");
}

}  // namespace

ClientOptions ClientOptions::from_environment() {
  ClientOptions options;
  options.ca_file = environment("MOE_CA_FILE");
  if (options.ca_file.empty()) options.ca_file = environment("SSL_CERT_FILE");
  options.ca_folder = environment("SSL_CERT_DIR");
  return options;
}

// Lanes that no call is using. There are as many as there were calls at once.
class Client::Pool {
 public:
  // A lane for one call.
  class Loan {
   public:
    Loan(Pool& pool, const std::string& origin) : pool_(pool), lane_(pool.take(origin)) {}
    ~Loan() { pool_.give_back(std::move(lane_)); }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    Lane& lane() { return *lane_; }

   private:
    Pool& pool_;
    std::unique_ptr<Lane> lane_;
  };

 private:
  // One that has been to this server before, if there is one: its connection may still be open.
  std::unique_ptr<Lane> take(const std::string& origin) {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return std::make_unique<Lane>();
    auto best = std::find_if(idle_.rbegin(), idle_.rend(),
                             [&](const auto& lane) { return lane->has_been_at(origin); });
    if (best == idle_.rend()) best = idle_.rbegin();
    std::unique_ptr<Lane> lane = std::move(*best);
    idle_.erase(std::next(best).base());
    return lane;
  }

  void give_back(std::unique_ptr<Lane> lane) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(lane));
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<Lane>> idle_;
};

Client::Client(ClientOptions options) : options_(std::move(options)), pool_(std::make_unique<Pool>()) {
  start_libcurl();
}

Client::~Client() = default;

void Client::cancel() {
  stop_.request_stop();
}

void Client::event(const std::string& line) const {
  if (options_.on_event) options_.on_event(line);
}

void Client::wait(double seconds) {
  Interrupt(stop_.get_token()).wait(seconds);
}

// Seconds before the next attempt. The factor keeps threads that failed together from coming back together.
double Client::pause(int failures, std::optional<double> asked) {
  const RetryPolicy& retry = options_.retry;
  const double factor =
      0.5 + 0.5 * static_cast<double>(Random(options_.seed, "net/backoff").uniform(draws_++));
  if (asked) return std::min(*asked, retry.longest_asked) + retry.first_wait * (1 - factor);
  return factor * std::min(retry.longest_wait, std::ldexp(retry.first_wait, std::min(failures - 1, 60)));
}

Response Client::get(const Request& request) {
  Interrupt interrupt(stop_.get_token());
  interrupt.check();
  Pool::Loan loan(*pool_, request.url.origin);
  Exchange exchange(request, options_, counters_, loan.lane(), interrupt);
  for (int failures = 0;;) {
    const Failure failure = exchange.attempt();
    if (!failure.failed) return exchange.take_response();
    failures = exchange.progressed() ? 1 : failures + 1;
    if (!failure.passing || failures >= options_.retry.attempts) exchange.give_up(failure, failures);
    const double seconds = pause(failures, exchange.asked_wait());
    counters_.retries++;
    const std::string& name = request.name.empty() ? request.url.shown : request.name;
    event(fmt::format("{}: {}; trying again in {:.1f} s (attempt {} of {})", name, failure.reason, seconds,
                      failures + 1, options_.retry.attempts));
    const auto start = std::chrono::steady_clock::now();
    interrupt.wait(seconds);
    const std::chrono::duration<double, std::milli> waited = std::chrono::steady_clock::now() - start;
    counters_.waited_ms += static_cast<int64_t>(waited.count());
  }
}

}  // namespace moe::net
