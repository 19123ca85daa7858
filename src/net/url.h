// SPDX-License-Identifier: MIT
// An http or https URL, taken apart by libcurl's own parser, so that what is checked here is what is fetched.
// The whole text may hold secrets (signed queries, passwords): messages print `shown` only.
#pragma once

#include <string>
#include <string_view>

namespace moe::net {

struct Url {
  std::string text;    // the whole, normalised; what is fetched
  std::string origin;  // "https://host:443": scheme, host in lower case, port; what a token belongs to
  std::string shown;   // without user, password, query and fragment

  // UserError for anything that is not an absolute http or https URL; the message does not repeat the query.
  static Url parse(std::string_view text);
  // A Location or Link header's URL, absolute or relative to this one. Throws as parse does.
  Url resolve(std::string_view reference) const;
  bool secure() const { return origin.starts_with("https:"); }
};

// One segment of a path with everything but A-Z a-z 0-9 - . _ ~ written as %XX (RFC 3986, section 2.3), '/'
// included.
std::string percent_encode(std::string_view segment);

}  // namespace moe::net
