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

#include "base/parse_number.h"
#include "base/random.h"
#include "net/call.h"
#include "net/certificates.h"
#include "net/http.h"
#include "net/interrupt.h"
#include "net/transfer.h"

namespace moe::net {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

double seconds(const char* name, double otherwise) {
  const std::string value = environment(name);
  if (value.empty()) return otherwise;
  const auto number = parse_number<double>(value);
  if (!number || !(*number > 0) || *number > 86400)
    throw UserError(std::string("environment: ") + name, "a number of seconds above 0", value);
  return *number;
}

std::string duration(double seconds) {
  return seconds < 120 ? fmt::format("{:.1f} s", seconds) : fmt::format("{:.0f} min", seconds / 60);
}

void start_libcurl() {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  CHECK(started == CURLE_OK, "curl_global_init");
}

}  // namespace

ClientOptions ClientOptions::from_environment() {
  ClientOptions options;
  const Certificates certificates = find_certificates();
  options.ca_file = certificates.file;
  options.ca_folder = certificates.folder;
  options.retry.first_wait = seconds("MOE_NET_FIRST_WAIT", options.retry.first_wait);
  options.retry.longest_wait = seconds("MOE_NET_LONGEST_WAIT", options.retry.longest_wait);
  return options;
}

// Connections that no call is using. There are as many as there were calls at once.
class Client::Pool {
 public:
  // A connection for one call.
  class Loan {
   public:
    Loan(Pool& pool, const std::string& origin) : pool_(pool), connection_(pool.take(origin)) {}
    ~Loan() { pool_.give_back(std::move(connection_)); }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    Connection& connection() { return *connection_; }

   private:
    Pool& pool_;
    std::unique_ptr<Connection> connection_;
  };

 private:
  // One that has been to this server before, if there is one: its connection may still be open.
  std::unique_ptr<Connection> take(const std::string& origin) {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return std::make_unique<Connection>();
    auto best = std::find_if(idle_.rbegin(), idle_.rend(),
                             [&](const auto& connection) { return connection->has_been_at(origin); });
    if (best == idle_.rend()) best = idle_.rbegin();
    std::unique_ptr<Connection> connection = std::move(*best);
    idle_.erase(std::next(best).base());
    return connection;
  }

  void give_back(std::unique_ptr<Connection> connection) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(connection));
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<Connection>> idle_;
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
  using Clock = std::chrono::steady_clock;
  using Seconds = std::chrono::duration<double>;
  constexpr double kLongOutage = 10;  // its end is told
  const double patience = request.patience.value_or(options_.retry.patience);
  const std::string& name = request.name.empty() ? request.url.shown : request.name;
  Interrupt interrupt(stop_.get_token());
  interrupt.check();
  Pool::Loan loan(*pool_, request.url.origin);
  Call call(request, options_, counters_, loan.connection(), interrupt);
  Clock::time_point outage;
  for (int failures = 0;;) {
    const Failure failure = call.attempt();
    const Clock::time_point now = Clock::now();
    if (failures > 0 && (call.progressed() || !failure.failed)) {
      const double lasted = Seconds(now - outage).count();
      if (lasted >= kLongOutage) event(fmt::format("{}: goes on after {}", name, duration(lasted)));
      failures = 0;
    }
    if (!failure.failed) return call.take_response();
    if (failures++ == 0) outage = now;
    const double wait = pause(failures, call.asked_wait());
    const double left = patience - Seconds(now - outage).count();
    if (!failure.passing || wait > left) call.give_up(failure, failures, Seconds(now - outage).count());
    counters_.retries++;
    if ((failures & (failures - 1)) == 0)  // 1, 2, 4, 8 ...: an outage does not fill the terminal
      event(fmt::format("{}: {}; trying again in {:.1f} s{}", name, failure.reason, wait,
                        request.patience ? "" : fmt::format(", for {} more", duration(left))));
    interrupt.wait(wait);
    const std::chrono::duration<double, std::milli> waited = Clock::now() - now;
    counters_.waited_ms += static_cast<int64_t>(waited.count());
  }
}

}  // namespace moe::net
