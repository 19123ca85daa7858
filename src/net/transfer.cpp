// SPDX-License-Identifier: MIT
#include "net/transfer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <exception>

#include "base/version.h"

namespace moe::net {

using Clock = std::chrono::steady_clock;

// What libcurl's callbacks work on.
struct Connection::Answer {
  const Transfer& transfer;
  CURL* easy;
  const RetryPolicy& limits;
  Headers headers{};
  bool headers_complete = false, begun = false, enough = false;
  int64_t head_bytes = 0, window_bytes = 0;
  // Of the request, then of the last byte of the body.
  Clock::time_point last_byte = Clock::now();
  Clock::time_point window =
      {};  // in which the body's rate is measured: from here on, as long as a stall may last
  std::exception_ptr error{};
  std::array<char, CURL_ERROR_SIZE> message{};

  void begin() {
    begun = true;
    window = Clock::now();
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    transfer.begin(status, headers);
  }

  // What is wrong with the time that the answer takes; "" while nothing is. left: seconds until it may be
  // asked again.
  std::string too_slow(double& left) {
    const Clock::time_point now = Clock::now();
    const auto since = [&](Clock::time_point start) {
      return std::chrono::duration<double>(now - start).count();
    };
    left = limits.stall_timeout - since(last_byte);
    if (left <= 0)
      return fmt::format("{} for {:g} s", headers_complete ? "no byte" : "no answer", limits.stall_timeout);
    if (!begun || limits.least_rate <= 0) return "";
    const double seconds = since(window);
    if (seconds < limits.stall_timeout) {
      left = std::min(left, limits.stall_timeout - seconds);
      return "";
    }
    const double rate = static_cast<double>(window_bytes) / seconds;
    if (rate < limits.least_rate)
      return fmt::format("{:.0f} bytes a second for {:g} s, less than {:g}", rate, limits.stall_timeout,
                         limits.least_rate);
    window = now;
    window_bytes = 0;
    return "";
  }

  static size_t take_header(char* data, size_t, size_t size, void* self) {
    auto& answer = *static_cast<Answer*>(self);
    const std::string_view line(data, size);
    answer.head_bytes += static_cast<int64_t>(size);
    if (answer.head_bytes > kLongestHead) {
      answer.error = std::make_exception_ptr(UserError(
          answer.transfer.url.shown, fmt::format("a head of at most {} bytes", kLongestHead), "more"));
      return size + 1;  // ends the transfer
    }
    if (line.starts_with("HTTP/")) {  // also after "100 Continue"
      answer.headers.clear();
      answer.headers_complete = false;
    } else if (line == "\r\n" || line == "\n") {
      answer.headers_complete = true;
      answer.last_byte = Clock::now();
    } else if (!answer.headers_complete) {  // trailers are of no interest
      answer.headers.add_line(line);
    }
    return size;
  }

  static size_t take_body(char* data, size_t, size_t size, void* self) {
    auto& answer = *static_cast<Answer*>(self);
    try {
      if (!answer.begun) answer.begin();
      const Clock::time_point start = Clock::now();
      const bool more = answer.transfer.body({data, size});
      answer.last_byte = Clock::now();
      answer.window += answer.last_byte - start;  // the time of who takes the bytes is not the server's
      answer.window_bytes += static_cast<int64_t>(size);
      if (more) return size;
      answer.enough = true;
    } catch (...) {  // not through libcurl's frames
      answer.error = std::current_exception();
    }
    return size + 1;  // ends the transfer
  }
};

namespace {

template <class Value>
void set(CURL* easy, CURLoption option, Value value) {
  CHECK(curl_easy_setopt(easy, option, value) == CURLE_OK, "curl_easy_setopt " + std::to_string(option));
}

Failure failure_of(CURLcode code, const char* message) {
  Failure failure{.failed = true, .passing = false, .slow = false, .reason = message, .hint = ""};
  if (failure.reason.empty()) failure.reason = curl_easy_strerror(code);
  switch (code) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
      failure.hint = "is the machine online? Behind a proxy set https_proxy";
      failure.passing = true;
      break;
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:  // of an answer without a status line: addresses are looked at before
      failure.hint = "check the network and start again";
      failure.passing = true;
      break;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
      failure.hint = "MOE_CA_FILE or SSL_CERT_FILE names a file of further certificates to trust";
      break;
    default:
      break;
  }
  return failure;
}

}  // namespace

Connection::Connection() : multi_(curl_multi_init()), easy_(curl_easy_init()) {
  CHECK(multi_ && easy_, "libcurl has no memory");
}

bool Connection::has_been_at(const std::string& origin) const {
  return std::find(origins_.begin(), origins_.end(), origin) != origins_.end();
}

void Connection::set_options(const Transfer& transfer, const ClientOptions& options, Answer& answer) {
  CURL* easy = easy_.get();
  curl_easy_reset(easy);
  set(easy, CURLOPT_URL, transfer.url.text.c_str());
  set(easy, CURLOPT_NOBODY, transfer.head ? 1L : 0L);
  if (transfer.payload != nullptr) {
    set(easy, CURLOPT_POST, 1L);
    set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(transfer.payload->size()));
    set(easy, CURLOPT_POSTFIELDS, transfer.payload->c_str());  // not copied
  }
  set(easy, CURLOPT_NOSIGNAL, 1L);    // no handlers, no alarms: compute threads share the process
  set(easy, CURLOPT_QUICK_EXIT, 1L);  // a stop need not wait for a name server
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                   static_cast<long>(CURL_HTTP_VERSION_2TLS));  // or 1.1, without nghttp2
  static const std::string program = program_version();
  set(easy, CURLOPT_USERAGENT, ("moe.cpp/" + program.substr(program.find(' ') + 1)).c_str());  // copied
  set(easy, CURLOPT_CONNECTTIMEOUT_MS, std::max(1L, static_cast<long>(options.retry.connect_timeout * 1000)));
  set(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE,
                   256L << 10);  // a request: refused after a name that was not found
  set(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  if (!options.ca_file.empty()) set(easy, CURLOPT_CAINFO, options.ca_file.c_str());
  if (!options.ca_folder.empty()) set(easy, CURLOPT_CAPATH, options.ca_folder.c_str());
  set(easy, CURLOPT_ERRORBUFFER, answer.message.data());
  set(easy, CURLOPT_HEADERFUNCTION, &Answer::take_header);
  set(easy, CURLOPT_HEADERDATA, static_cast<void*>(&answer));
  set(easy, CURLOPT_WRITEFUNCTION, &Answer::take_body);
  set(easy, CURLOPT_WRITEDATA, static_cast<void*>(&answer));
  header_lines_.reset();
  for (const std::string& line : transfer.header_lines) {
    curl_slist* longer = curl_slist_append(header_lines_.get(), line.c_str());
    CHECK(longer, "libcurl has no memory");
    if (!header_lines_) header_lines_.reset(longer);
  }
  set(easy, CURLOPT_HTTPHEADER, header_lines_.get());
}

// Until the transfer is over, or takes too long: then too_slow says what is wrong.
CURLcode Connection::drive(Interrupt& interrupt, Answer& answer, std::string& too_slow) {
  for (;;) {
    int running = 0, waiting = 0;
    CHECK(curl_multi_perform(multi_.get(), &running) == CURLM_OK);
    while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &waiting))
      if (message->msg == CURLMSG_DONE) return message->data.result;
    interrupt.check();
    double left = 0;
    too_slow = answer.too_slow(left);
    if (!too_slow.empty()) return CURLE_OPERATION_TIMEDOUT;
    const int milliseconds = static_cast<int>(std::min(left, 10.0) * 1000) + 1;
    CHECK(curl_multi_poll(multi_.get(), nullptr, 0, milliseconds, nullptr) == CURLM_OK);
  }
}

Failure Connection::perform(const Transfer& transfer, const ClientOptions& options, Interrupt& interrupt) {
  Answer answer{.transfer = transfer, .easy = easy_.get(), .limits = options.retry};
  set_options(transfer, options, answer);
  if (!has_been_at(transfer.url.origin)) origins_.push_back(transfer.url.origin);

  // In and out again whatever happens; a transfer cut short closes its connection.
  struct Added {
    CURLM* multi;
    CURL* easy;
    Interrupt& interrupt;
    ~Added() {
      interrupt.on_stop({});
      curl_multi_remove_handle(multi, easy);
    }
  };
  CHECK(curl_multi_add_handle(multi_.get(), easy_.get()) == CURLM_OK);
  const Added added{multi_.get(), easy_.get(), interrupt};
  interrupt.on_stop([multi = multi_.get()] { curl_multi_wakeup(multi); });

  std::string too_slow;
  const CURLcode code = drive(interrupt, answer, too_slow);
  if (answer.error) std::rethrow_exception(answer.error);
  if (!too_slow.empty())
    return {.failed = true,
            .passing = true,
            .slow = true,
            .reason = too_slow,
            .hint = "check the network and start again"};
  if (code != CURLE_OK && !answer.enough) return failure_of(code, answer.message.data());
  if (!answer.begun) answer.begin();
  return {};
}

}  // namespace moe::net
