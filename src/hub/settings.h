// SPDX-License-Identifier: MIT
// What huggingface_hub takes from the environment, under the same names and with the same defaults.
#pragma once

#include <filesystem>
#include <string>

#include "net/http.h"

namespace moe::hub {

struct Settings {
  std::string endpoint = "https://huggingface.co";  // HF_ENDPOINT
  std::string token;                                // HF_TOKEN, else the first line of the file HF_TOKEN_PATH
  // (default $HF_HOME/token); empty: anonymous
  std::filesystem::path cache;   // HF_HUB_CACHE, default $HF_HOME/hub; HF_HOME is $XDG_CACHE_HOME/huggingface
  bool offline = false;          // HF_HUB_OFFLINE: nothing but the cache
  double etag_timeout = 10;      // HF_HUB_ETAG_TIMEOUT, seconds: connecting, and answers of the API
  double download_timeout = 10;  // HF_HUB_DOWNLOAD_TIMEOUT, seconds without a byte

  // UserError for a value that cannot be read.
  static Settings from_environment();
  // The two timeouts put into a client's options.
  void apply(net::ClientOptions& options) const;
};

}  // namespace moe::hub
