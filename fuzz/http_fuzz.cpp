// SPDX-License-Identifier: MIT
// What servers and people write: header values, URLs, hf:// addresses. Any bytes are nothing, a UserError, or
// a value that keeps its promises.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "hub/address.h"
#include "net/headers.h"
#include "net/url.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void parse_headers(std::string_view text) {
  if (const auto range = moe::net::parse_content_range(text)) {
    require(range->begin < range->end || (range->begin == -1 && range->end == -1 && range->total >= 0));
    require(range->total < 0 || range->end <= range->total);
  }
  if (const auto length = moe::net::parse_content_length(text)) require(*length >= 0);
  if (const auto wait = moe::net::parse_retry_after(text, 1'000'000'000)) require(*wait >= 0);
  if (const auto wait = moe::net::parse_rate_limit(text)) require(*wait >= 0);
  if (const auto link = moe::net::parse_next_link(text))
    require(!link->empty() && text.find(*link) != text.npos);
  moe::net::Headers headers;
  headers.add_line(text);
  headers.get(text);
}

void parse_urls(std::string_view text) {
  for (const auto parse : {+[](std::string_view reference) { return moe::net::Url::parse(reference); },
                           +[](std::string_view reference) {
                             return moe::net::Url::parse("https://a.example/b/c?d").resolve(reference);
                           }}) {
    try {
      const moe::net::Url url = parse(text);
      require(url.shown.find('?') == std::string::npos && url.shown.find('#') == std::string::npos);
      require(url.origin.starts_with("http") && moe::net::Url::parse(url.text).origin == url.origin);
    } catch (const moe::UserError&) {
    }
  }
}

void parse_address(std::string_view text) {
  for (const std::string& whole : {std::string(text), "hf://datasets/" + std::string(text)}) {
    try {
      const moe::hub::Address address = moe::hub::Address::parse(whole);
      require(moe::hub::Address::parse(address.text()) == address);
      require(address.path.empty() || moe::hub::is_inner_path(address.path));
      require(address.revision.empty() || moe::hub::is_inner_path(address.revision));
      require(moe::hub::is_inner_path(address.repo));
    } catch (const moe::UserError&) {
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  parse_headers(text);
  parse_urls(text);
  parse_address(text);
  return 0;
}
