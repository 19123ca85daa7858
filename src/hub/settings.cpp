// SPDX-License-Identifier: MIT
#include "hub/settings.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "base/error.h"
#include "base/file.h"

namespace moe::hub {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// A path of the environment; '~' is the home folder, as in Python.
fs::path folder(const char* name, const fs::path& otherwise) {
  const std::string value = environment(name);
  if (value.empty()) return otherwise;
  if (value == "~" || value.starts_with("~/")) return environment("HOME") + value.substr(1);
  return value;
}

bool is_true(std::string value) {
  for (char& c : value) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

double seconds(const char* name, double otherwise) {
  const std::string value = environment(name);
  if (value.empty()) return otherwise;
  char* end = nullptr;
  const double number = std::strtod(value.c_str(), &end);
  if (end != value.c_str() + value.size() || !(number > 0) || number > 86400)
    throw UserError(std::string("environment: ") + name, "a number of seconds", value);
  return number;
}

std::string cleaned_token(std::string token, const std::string& where) {
  std::erase_if(token, [](char c) { return c == '\n' || c == '\r'; });
  const size_t begin = token.find_first_not_of(" \t");
  if (begin == std::string::npos) return "";
  token = token.substr(begin, token.find_last_not_of(" \t") - begin + 1);
  if (!std::all_of(token.begin(), token.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; }))
    throw UserError(where, "a token", "characters that no token has");
  return token;
}

std::string find_token(const fs::path& home) {
  std::string given = cleaned_token(environment("HF_TOKEN"), "environment: HF_TOKEN");
  if (!given.empty()) return given;
  const fs::path file = folder("HF_TOKEN_PATH", home / "token");
  std::error_code none;
  return fs::is_regular_file(file, none) ? cleaned_token(read_file(file), file.string()) : "";
}

}  // namespace

Settings Settings::from_environment() {
  Settings settings;
  const std::string endpoint = environment("HF_ENDPOINT");
  if (!endpoint.empty()) settings.endpoint = endpoint;
  while (settings.endpoint.ends_with('/')) settings.endpoint.pop_back();
  net::Url::parse(settings.endpoint);  // refuses what is none
  const fs::path caches = folder("XDG_CACHE_HOME", fs::path(environment("HOME")) / ".cache");
  const fs::path home = folder("HF_HOME", caches / "huggingface");
  settings.cache = folder("HF_HUB_CACHE", home / "hub");
  settings.token = find_token(home);
  settings.offline = is_true(environment("HF_HUB_OFFLINE"));
  settings.etag_timeout = seconds("HF_HUB_ETAG_TIMEOUT", settings.etag_timeout);
  settings.download_timeout = seconds("HF_HUB_DOWNLOAD_TIMEOUT", settings.download_timeout);
  return settings;
}

void Settings::apply(net::ClientOptions& options) const {
  options.retry.connect_timeout = etag_timeout;
  options.retry.stall_timeout = download_timeout;
}

}  // namespace moe::hub
