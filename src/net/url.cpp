// SPDX-License-Identifier: MIT
#include "net/url.h"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <memory>

#include "base/error.h"

namespace moe::net {
namespace {

struct Freed {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
  void operator()(char* text) const { curl_free(text); }
};
using Handle = std::unique_ptr<CURLU, Freed>;

std::string part(CURLU* url, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, which, &text, flags) != CURLUE_OK) return "";
  const std::unique_ptr<char, Freed> owner(text);
  return text;
}

// What of a text that is no URL may be printed: nothing behind '?' or '#', nothing before '@'.
std::string printable(std::string_view text) {
  text = text.substr(0, text.find_first_of("?#"));
  const size_t at = text.rfind('@');
  if (at != std::string_view::npos) text.remove_prefix(at + 1);
  std::string result(text.substr(0, 200));
  std::erase_if(result, [](char c) { return std::iscntrl(static_cast<unsigned char>(c)); });
  return result;
}

Url taken_apart(CURLU* handle, std::string_view text) {
  Url url;
  url.text = part(handle, CURLUPART_URL);
  const std::string scheme = part(handle, CURLUPART_SCHEME);
  if (url.text.empty() || (scheme != "http" && scheme != "https"))
    throw UserError(printable(text), "an http:// or https:// URL", scheme.empty() ? "" : scheme + "://");
  std::string host = part(handle, CURLUPART_HOST);
  std::transform(host.begin(), host.end(), host.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  url.origin = scheme + "://" + host + ":" + part(handle, CURLUPART_PORT, CURLU_DEFAULT_PORT);
  const std::string port = part(handle, CURLUPART_PORT);
  url.shown = scheme + "://" + host + (port.empty() ? "" : ":" + port) + part(handle, CURLUPART_PATH);
  return url;
}

void set(CURLU* handle, std::string_view text, unsigned flags = 0) {
  const CURLUcode code = curl_url_set(handle, CURLUPART_URL, std::string(text).c_str(), flags);
  if (code != CURLUE_OK || text.find('\0') != std::string_view::npos)
    throw UserError(printable(text), "an http:// or https:// URL",
                    code == CURLUE_OK ? "a zero byte" : curl_url_strerror(code));
}

}  // namespace

Url Url::parse(std::string_view text) {
  const Handle handle(curl_url());
  CHECK(handle != nullptr);
  set(handle.get(), text);
  return taken_apart(handle.get(), text);
}

Url Url::resolve(std::string_view reference) const {
  const Handle handle(curl_url());
  CHECK(handle != nullptr);
  set(handle.get(), text);
  set(handle.get(), reference, CURLU_URLENCODE | CURLU_ALLOW_SPACE);  // servers send spaces in Location
  return taken_apart(handle.get(), reference);
}

std::string percent_encode(std::string_view segment) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string result;
  for (const char c : segment) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain)
      result += c;
    else
      (result += '%') += {kHex[byte >> 4], kHex[byte & 15]};
  }
  return result;
}

}  // namespace moe::net
