// SPDX-License-Identifier: MIT
#include "net/call.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <utility>

namespace moe::net {
namespace {

constexpr int kRedirects = 10;
constexpr int kMismatches = 5;  // one answer may be damaged on its way; a server that is wrong stays so
constexpr const char* kNoRanges =
    "the server does not serve ranges as it should; download the file and read it locally";
constexpr int64_t kLongestErrorPage = int64_t{1} << 20;  // read to keep the connection, not for its text

bool is_success(long status) {
  return status >= 200 && status < 300;
}

bool is_redirect(long status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// Likely to be gone after a while. 501 and 505 are about the request.
bool is_passing(long status) {
  return status == 408 || status == 425 || status == 429 || (status >= 500 && status != 501 && status != 505);
}

// "HTTP 404 (Entry not found)": the hub says in a header what it means.
std::string describe(const Response& response) {
  std::string text = response.headers.get("X-Error-Message").substr(0, 200);
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return fmt::format("HTTP {}{}", response.status, text.empty() ? "" : " (" + text + ")");
}

std::string hint_for(long status) {
  if (status == 401 || status == 403) return "this needs a token, or one with more rights";
  if (status == 404 || status == 410) return "check the name";
  if (status == 416) return "the file is shorter than it was";
  if (status == 429) return "the server's limit is used up; wait some minutes, or ask with a token";
  if (status >= 500) return "the server has trouble; start again later";
  return "";
}

std::string validator_of(const Headers& headers) {
  const std::string& etag = headers.get("ETag");
  return etag.empty() ? headers.get("Last-Modified") : etag;
}

// Whether two validators of one kind (ETags, dates) name two states of a file. Weak or strong is the same to
// us.
bool differ(std::string_view one, std::string_view other) {
  for (std::string_view* etag : {&one, &other})
    if (etag->starts_with("W/")) etag->remove_prefix(2);
  return one != other && one.starts_with('"') == other.starts_with('"');
}

}  // namespace

bool HttpError::passing() const {
  return is_passing(status);
}

Call::Call(const Request& request, const ClientOptions& options, Counters& counters, Connection& connection,
           Interrupt& interrupt)
    : request_(request),
      options_(options),
      counters_(counters),
      connection_(connection),
      interrupt_(interrupt),
      validator_(request.validator),
      total_(request.total_size) {
  CHECK(!request.range || (request.range->begin >= 0 && request.range->begin < request.range->end),
        "an empty range");
}

Failure Call::attempt() {
  // A document without a validator may be another one next time: it is asked for from its start.
  if (!request_.range && !request_.sink && validator_.empty()) start_anew();
  if (progressed_ || !mismatch_.failed) mismatches_ = 0;
  const int64_t before = received_;
  const auto start = std::chrono::steady_clock::now();
  Failure failure = follow();
  // All that was asked for has come, whatever the answer's head promised beyond it.
  if (failure.passing && wanted_ && !mismatch_.failed && position() == end()) failure = {};
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  const auto received = static_cast<double>(received_ - before);
  progressed_ = received > 0 && received >= options_.retry.least_rate * took.count();
  return failure;
}

// One request, and those that its redirects lead to.
Failure Call::follow() {
  Url url = request_.url;
  for (int redirects = 0;; ++redirects) {
    response_ = {};
    response_.final_url = url;
    wanted_ = false;
    skip_ = dropped_ = 0;
    mismatch_ = {};
    counters_.requests++;
    const Transfer transfer{
        .url = url,
        .head = request_.method == "HEAD",
        .payload = request_.method == "POST" ? &request_.payload : nullptr,
        .header_lines = header_lines(url),
        .begin = [this](long status, const Headers& headers) { take_head(status, headers); },
        .body = [this](std::string_view piece) { return take_piece(piece); }};
    Failure failure = connection_.perform(transfer, options_, interrupt_);
    if (failure.slow) counters_.too_slow++;
    if (failure.failed) return failure;
    if (!is_redirect(response_.status)) return judge();
    const std::optional<Url> target = redirect_target();
    if (!request_.follow || !target) return judge();
    if (redirects == kRedirects) {
      mismatch(fmt::format("at most {} redirects", kRedirects), "more", "");
      return judge();
    }
    url = *target;
  }
}

std::vector<std::string> Call::header_lines(const Url& url) const {
  std::vector<std::string> lines = {"Accept-Encoding: identity"};  // offsets are those of the file itself
  for (const auto& [name, value] : request_.headers) lines.push_back(fmt::format("{}: {}", name, value));
  if (!request_.bearer.empty() && url.origin == request_.url.origin)
    lines.push_back("Authorization: Bearer " + request_.bearer);
  if (asks_range())
    lines.push_back(end() < 0 ? fmt::format("Range: bytes={}-", position())
                              : fmt::format("Range: bytes={}-{}", position(), end() - 1));
  return lines;
}

// Nothing, and a mismatch, where the answer does not say.
std::optional<Url> Call::redirect_target() {
  const std::string& location = response_.headers.get("Location");
  try {
    if (location.empty()) throw UserError("", "", "no Location");
    Url target = response_.final_url.resolve(location);
    if (response_.final_url.secure() && !target.secure())
      throw UserError("", "", "one from https to " + target.shown);
    return target;
  } catch (const UserError& error) {
    mismatch("a redirect to an http or https address, from https to https only",
             error.where.empty() ? error.found : error.where, "");
    return std::nullopt;
  }
}

void Call::start_anew() {
  received_ = 0;
  total_ = request_.total_size;
  body_.clear();
}

void Call::take_head(long status, const Headers& headers) {
  response_.status = status;
  response_.headers = headers;
  response_.ranges = status == 206 || headers.get("Accept-Ranges") == "bytes";
  if (status == 429) counters_.rate_limited++;
  if (!is_success(status)) return;
  wanted_ = true;
  const auto range = parse_content_range(headers.get("Content-Range"));
  const auto length = parse_content_length(headers.get("Content-Length"));
  response_.total_size = status == 206 ? (range ? range->total : -1) : length.value_or(-1);
  check_identity();
  if (request_.method != "HEAD" && !mismatch_.failed) check_place();
}

// Whether this is the file that it was in the attempts before, and that the caller wants.
void Call::check_identity() {
  const std::string& encoding = response_.headers.get("Content-Encoding");
  if (!encoding.empty() && encoding != "identity")
    return mismatch("the bytes as they are", "Content-Encoding: " + encoding.substr(0, 40),
                    "the server compresses what it was asked not to");
  const std::string& validator = response_.validator = validator_of(response_.headers);
  if (!validator_.empty() && !validator.empty() && differ(validator, validator_))
    return changed("version " + validator_, "version " + validator);
  if (total_ >= 0 && response_.total_size >= 0 && response_.total_size != total_)
    return changed(fmt::format("{} bytes", total_), fmt::format("{} bytes", response_.total_size));
  if (validator_.empty()) validator_ = validator;
  if (total_ < 0) total_ = response_.total_size;
}

// Whether the body starts and ends where it should.
void Call::check_place() {
  if (response_.status == 206) {
    const auto range = parse_content_range(response_.headers.get("Content-Range"));
    if (!asks_range() || !range || range->begin != position() || (end() >= 0 && range->end > end()))
      mismatch(wanted_bytes(),
               range ? fmt::format("bytes {}-{}", range->begin, range->end - 1) : "a range that is not named",
               kNoRanges);
  } else if (request_.range) {
    mismatch(wanted_bytes(), "the whole file", kNoRanges);
  } else {
    skip_ = received_;  // the server has no ranges: what we have comes again
  }
}

std::string Call::wanted_bytes() const {
  return end() < 0 ? fmt::format("the file from byte {} on", position())
                   : fmt::format("bytes {}-{}", position(), end() - 1);
}

// This answer cannot be right: another attempt, and an error after some in a row.
void Call::mismatch(const std::string& expected, const std::string& found, const std::string& hint) {
  if (++mismatches_ == kMismatches)
    throw UserError(request_.url.shown, expected, fmt::format("{}, {} times in a row", found, kMismatches),
                    hint);
  mismatch_ = {.failed = true,
               .passing = true,
               .slow = false,
               .reason = "expected " + expected + ", found " + found,
               .hint = hint};
}

void Call::changed(const std::string& expected, const std::string& found) {
  try {
    mismatch(expected + ", as before", found,
             "the file changed on the server; start again, from a fixed revision where there is one");
  } catch (const UserError& error) {
    throw Changed(error);
  }
}

bool Call::take_piece(std::string_view piece) {
  if (mismatch_.failed) return false;
  if (!wanted_) {
    dropped_ += static_cast<int64_t>(piece.size());
    return dropped_ <= kLongestErrorPage;
  }
  const auto skipped = static_cast<size_t>(std::min(skip_, static_cast<int64_t>(piece.size())));
  skip_ -= static_cast<int64_t>(skipped);
  piece.remove_prefix(skipped);
  if (end() >= 0 && static_cast<int64_t>(piece.size()) > end() - position()) {
    mismatch(wanted_bytes(), "more than that", kNoRanges);
    return false;
  }
  if (!piece.empty()) deliver(piece);
  return true;
}

void Call::deliver(std::string_view piece) {
  const auto size = static_cast<int64_t>(piece.size());
  if (request_.sink) {
    request_.sink(piece);
  } else {
    if (received_ + size > request_.max_body)
      throw UserError(request_.url.shown, fmt::format("at most {} bytes", request_.max_body), "more");
    body_ += piece;
  }
  received_ += size;
  counters_.bytes += size;
}

// An answer came in full: is it the end?
Failure Call::judge() {
  const long status = response_.status;
  if (is_passing(status))
    return {.failed = true,
            .passing = true,
            .slow = false,
            .reason = describe(response_),
            .hint = hint_for(status)};
  if (!is_success(status) && !is_redirect(status))
    throw HttpError(status, response_.headers,
                    UserError(response_.final_url.shown, "", describe(response_), hint_for(status)));
  if (mismatch_.failed) return mismatch_;
  const int64_t last = end() >= 0 ? end() : total_;
  if (is_success(status) && request_.method != "HEAD" && last >= 0 && position() != last)
    return {.failed = true,
            .passing = true,
            .slow = false,
            .reason = fmt::format("the body ended at byte {} of {}", position(), last),
            .hint = "the server sends less than it says"};
  return {};
}

std::optional<double> Call::asked_wait() const {
  if (!is_passing(response_.status)) return std::nullopt;
  // Until the window has passed; one second more, since both sides round.
  if (const auto rest = parse_rate_limit(response_.headers.get("RateLimit"))) return *rest + 1;
  return parse_retry_after(response_.headers.get("Retry-After"), std::time(nullptr));
}

Response Call::take_response() {
  response_.body = std::move(body_);
  return std::move(response_);
}

void Call::give_up(const Failure& failure, int failures, double seconds) const {
  const std::string found =
      failure.passing ? fmt::format("{}, {} times in a row in {:.0f} s", failure.reason, failures, seconds)
                      : failure.reason;
  const UserError error(response_.final_url.shown, "an answer", found, failure.hint);
  if (is_passing(response_.status)) throw HttpError(response_.status, response_.headers, error);
  if (failure.passing) throw Unreachable(error);
  throw error;
}

}  // namespace moe::net
