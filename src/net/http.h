// SPDX-License-Identifier: MIT
// HTTP(S) GET, HEAD and POST over libcurl that survive what networks do: failures that may pass are retried
// with back-off, and a body that broke off is continued from the byte reached. Either every byte asked for
// arrives, in order and once, or the call throws. docs/decisions/0005-http.md has the rules. Sizes and
// offsets are bytes, times seconds.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "net/headers.h"
#include "net/stop_scope.h"
#include "net/url.h"

namespace moe::net {

// A final answer that is not a success: 401, 403, 404, 410, 416 and the like at once, 408, 429 and 5xx when
// the patience is over. headers: as the server sent them.
struct HttpError : UserError {
  HttpError(long status_, Headers headers_, UserError error)
      : UserError(std::move(error)), status(status_), headers(std::move(headers_)) {}
  bool passing() const;  // likely to be gone after a while
  long status;
  Headers headers;
};

// No answer at all when the patience is over: no network, no server, connections that break, answers too
// slow.
struct Unreachable : UserError {
  explicit Unreachable(UserError error) : UserError(std::move(error)) {}
};

// Another version or size than before, several times in a row.
struct Changed : UserError {
  explicit Changed(UserError error) : UserError(std::move(error)) {}
};

// Bytes [begin, end) of a file.
struct Range {
  int64_t begin = 0, end = 0;
};

struct Request {
  Url url;
  std::string method = "GET";  // or HEAD, or POST with `payload`
  std::string payload = {};  // sent again as it is with each attempt: the request must bear being done twice
  std::vector<std::pair<std::string, std::string>> headers = {};
  // A token for "Authorization: Bearer", sent to the origin of `url` only: a redirect elsewhere goes without
  // it.
  std::string bearer = {};
  std::optional<Range> range = {};
  // What the file must be: an answer with another validator or another whole size is an error. "" and -1: not
  // known.
  std::string validator = {};
  int64_t total_size = -1;
  std::string name = {};  // for the lines about retries, in place of the URL
  bool follow = true;  // redirects, up to 10, never from https to http; false: they are reported as they are
  int64_t max_body = int64_t{64} << 20;  // a longer body is an error; without a sink only
  std::optional<double> patience = {};   // in place of RetryPolicy's
  // Takes the body piece by piece, each byte once and in order, in place of Response::body. Called on this
  // thread.
  std::function<void(std::string_view)> sink = {};
};

struct Response {
  long status = 0;
  Headers headers;
  std::string body;
  Url final_url;
  // Size of the whole file: from Content-Range, else Content-Length; -1 when the server does not say.
  int64_t total_size = -1;
  bool ranges = false;    // the server answered a range, or says that it does
  std::string validator;  // the ETag, else the date of the last change: equal means the same bytes
};

struct RetryPolicy {
  // An outage may last so long: seconds from the first failure until no further attempt is made. They start
  // anew when an attempt has brought bytes at `least_rate`. 0: the first failure is the last.
  double patience = 1800;
  double first_wait = 0.5;     // doubles each time, times a random factor in [0.5, 1]
  double longest_wait = 30;    // of our own
  double longest_asked = 400;  // a server's Retry-After or RateLimit is obeyed up to this
  double connect_timeout = 10;
  double stall_timeout = 30;  // from the request to the end of the head, and then without a byte
  double least_rate =
      1024;  // bytes a second; a body that is slower for a stall_timeout is broken off. 0: none
};

// Of the status lines and headers of one answer, in bytes. A longer head is an error.
constexpr int64_t kLongestHead = int64_t{256} << 10;

// Since the client was made; any thread may read them.
struct Counters {
  std::atomic<int64_t> requests{0};      // sent, retries and redirects included
  std::atomic<int64_t> bytes{0};         // of bodies received
  std::atomic<int64_t> retries{0};       // attempts after the first
  std::atomic<int64_t> rate_limited{0};  // answers 429
  std::atomic<int64_t> resolves{0};      // signed URLs asked for (RemoteFile)
  std::atomic<int64_t> too_slow{0};   // answers broken off: no head in time, stalled, or below the least rate
  std::atomic<int64_t> waited_ms{0};  // back-off, summed over threads
  double waited() const { return static_cast<double>(waited_ms.load()) * 1e-3; }
};

struct ClientOptions {
  RetryPolicy retry;
  std::string ca_file, ca_folder;  // certificates to trust; empty: as libcurl was built
  // A line for a call's retries 1, 2, 4, 8 ..., ready to print, and one when a long outage is over; called
  // from the thread that retries. Secrets are never in it.
  std::function<void(const std::string&)> on_event;
  uint64_t seed = 0;  // of the random factors of the waits
  // ca_file and ca_folder from find_certificates() (net/certificates.h); the back-off's first_wait and
  // longest_wait from MOE_NET_FIRST_WAIT and MOE_NET_LONGEST_WAIT. (Proxies are libcurl's own business:
  // https_proxy, no_proxy ...) UserError for a value that cannot be read.
  static ClientOptions from_environment();
};

// Safe to use from any number of threads; each call blocks its thread and has a connection of its own, kept
// and used again by later calls (HTTP/2 where the server has it). Installs no signal handler.
class Client {
 public:
  explicit Client(ClientOptions options = ClientOptions::from_environment());
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Returns 2xx answers (with follow = false also 3xx), the body whole. A permanent failure is a UserError
  // that names the URL, a status an HttpError; Cancelled after cancel() or by the thread's StopScope, within
  // milliseconds.
  Response get(const Request& request);
  // Blocks for that long, or throws Cancelled.
  void wait(double seconds);
  // Ends all calls, now and later, for good.
  void cancel();

  const Counters& counters() const { return counters_; }
  Counters& counters() { return counters_; }
  const ClientOptions& options() const { return options_; }
  void event(const std::string& line) const;

 private:
  class Pool;

  double pause(int failures, std::optional<double> asked);

  const ClientOptions options_;
  Counters counters_;
  std::stop_source stop_;
  std::unique_ptr<Pool> pool_;
  std::atomic<uint64_t> draws_{0};  // random factors taken
};

}  // namespace moe::net
