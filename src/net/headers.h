// SPDX-License-Identifier: MIT
// The headers of a response, and the few whose values we take apart. Every parser takes any bytes: what does
// not follow its grammar is nothing (nullopt), never an error. Sections are those of RFC 9110 (HTTP) unless
// named.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moe::net {

class Headers {
 public:
  void add(std::string_view name, std::string_view value);
  // One line as received, "Name: value\r\n"; lines without a colon are skipped.
  void add_line(std::string_view line);
  void clear() { items_.clear(); }
  // The first of that name in any case; "" when there is none.
  const std::string& get(std::string_view name) const;
  bool has(std::string_view name) const;

 private:
  std::vector<std::pair<std::string, std::string>> items_;  // names in lower case
};

// Content-Range "bytes 0-99/1000" (14.4): end is one past the last byte; total -1 for "*". "bytes */1000",
// the answer to a range outside the file, has begin = end = -1.
struct ContentRange {
  int64_t begin = -1, end = -1, total = -1;
};
std::optional<ContentRange> parse_content_range(std::string_view value);

// Content-Length (8.6): digits only.
std::optional<int64_t> parse_content_length(std::string_view value);

// Retry-After (10.2.3) in seconds from `now` (Unix time): a number of seconds, or a date (0 when past).
std::optional<double> parse_retry_after(std::string_view value, int64_t now);

// RateLimit (draft-ietf-httpapi-ratelimit-headers, as the hub sends it): "api";r=0;t=55 -> 55, the seconds
// until the window starts anew. Of several limits the longest t among those with r=0; nothing when none is
// used up.
std::optional<double> parse_rate_limit(std::string_view value);

// Link (RFC 8288): the target of rel="next", as written (it may be relative).
std::optional<std::string> parse_next_link(std::string_view value);

}  // namespace moe::net
