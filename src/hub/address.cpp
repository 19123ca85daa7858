// SPDX-License-Identifier: MIT
#include "hub/address.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "base/error.h"
#include "net/url.h"

namespace moe::hub {
namespace {

constexpr const char* kForm = "hf://datasets/USER/NAME[@REVISION][/PATH]";

[[noreturn]] void refuse(std::string_view text, const std::string& found) {
  std::string shown(text.substr(0, 300));
  std::replace_if(
      shown.begin(), shown.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  throw UserError(shown, kForm, found);
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t slash = text.find('/');
    parts.push_back(text.substr(0, slash));
    if (slash == std::string_view::npos) return parts;
    text.remove_prefix(slash + 1);
  }
}

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == '.';
}

// A user, a repository: also the name of a folder in the cache.
bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 96 && text[0] != '.' && text[0] != '-' &&
         std::all_of(text.begin(), text.end(), is_word) && text.find("--") == std::string_view::npos &&
         text.find("..") == std::string_view::npos;
}

std::optional<int> hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

std::string percent_decode(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto high = text[i] == '%' && i + 2 < text.size() ? hex_digit(text[i + 1]) : std::nullopt;
    const auto low = high ? hex_digit(text[i + 2]) : std::nullopt;
    if (low) {
      result += static_cast<char>(*high * 16 + *low);
      i += 2;
    } else {
      result += text[i];
    }
  }
  return result;
}

// refs/convert/NAME and refs/pr/NUMBER
bool is_special_ref(std::string_view revision) {
  const auto parts = split(revision);
  if (parts.size() != 3 || parts[0] != "refs" || parts[2].empty()) return false;
  if (parts[1] == "convert") return std::all_of(parts[2].begin(), parts[2].end(), is_word);
  return parts[1] == "pr" &&
         std::all_of(parts[2].begin(), parts[2].end(), [](char c) { return c >= '0' && c <= '9'; });
}

// How many of the segments behind '@' are the revision.
size_t revision_length(const std::vector<std::string_view>& rest) {
  if (rest.size() < 3) return 1;
  return is_special_ref(fmt::format("{}/{}/{}", rest[0], rest[1], rest[2])) ? 3 : 1;
}

}  // namespace

bool is_inner_path(std::string_view path) {
  const auto parts = split(path);
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  return std::none_of(path.begin(), path.end(), is_control) &&
         std::none_of(parts.begin(), parts.end(),
                      [](auto part) { return part.empty() || part == "." || part == ".."; });
}

Address Address::parse(std::string_view text) {
  if (!is_hub(text)) refuse(text, "another scheme");
  std::string_view body = text.substr(5);
  if (body.ends_with('/')) body.remove_suffix(1);
  auto parts = split(body);
  Address address;
  if (parts[0] == "datasets" || parts[0] == "models") {
    address.kind = parts[0];
    parts.erase(parts.begin());
  } else if (parts[0] == "spaces" || parts[0] == "buckets" || parts[0] == "kernels") {
    refuse(text, std::string(parts[0]) + ", which are not data sets");
  } else {
    address.kind = "models";
  }
  if (parts.size() < 2) refuse(text, "no USER/NAME");

  std::string_view name = parts[1];
  const size_t at = name.find('@');
  std::vector<std::string_view> rest(parts.begin() + 2, parts.end());
  if (at != std::string_view::npos) {
    rest.insert(rest.begin(), name.substr(at + 1));
    name = name.substr(0, at);
    const size_t length = revision_length(rest);
    address.revision = percent_decode(fmt::format("{}", fmt::join(rest.begin(), rest.begin() + length, "/")));
    rest.erase(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(length));
    if (!is_inner_path(address.revision)) refuse(text, "no revision behind @");
  }
  if (!is_name(parts[0]) || !is_name(name)) refuse(text, "a USER or NAME that cannot be");
  address.repo = fmt::format("{}/{}", parts[0], name);
  address.path = fmt::format("{}", fmt::join(rest, "/"));
  if (!rest.empty() && !is_inner_path(address.path))
    refuse(text, "a path with an empty segment, '.' or '..'");
  return address;
}

std::string Address::text() const {
  std::string text = "hf://" + (kind == "models" ? "" : kind + "/") + repo;
  if (!revision.empty()) text += "@" + (is_special_ref(revision) ? revision : net::percent_encode(revision));
  if (!path.empty()) text += "/" + path;
  return text;
}

}  // namespace moe::hub
