// SPDX-License-Identifier: MIT
// The repository of the hub's tests (the one of tools/make_hub_goldens.py), a server for it, and Hubs with
// caches of their own.
#pragma once

#include <gmock/gmock.h>

#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "hub/hub.h"
#include "support/errors.h"
#include "support/folder.h"
#include "support/hub_server.h"

namespace moe::hub {

class HubTest : public testing::Test {
 protected:
  HubTest() {
    folder_.put("datasets/user/name/.refs", "refs/convert/parquet\n");
    folder_.put("datasets/user/name/README.md", "# Three files\n");
    folder_.put("datasets/user/name/data/small.jsonl", "{\"text\": \"One line.\"}\n");
    folder_.put("datasets/user/name/data/deep/large.bin", large_);
  }

  void serve(const std::vector<std::string>& options = {}) { server_.emplace(folder_.path(), options); }
  nlohmann::json report() const { return nlohmann::json::parse(server_->control()); }

  Settings settings(const std::string& cache = "cache", const std::string& token = "") const {
    Settings settings;
    settings.endpoint = server_ ? server_->endpoint() : "http://127.0.0.1:9";  // nobody listens there
    settings.token = token;
    settings.cache = folder_.path() / cache;
    return settings;
  }
  std::unique_ptr<Hub> hub(Settings settings) {
    return std::make_unique<Hub>(std::move(settings), *client_, [this](const std::string& line) {
      const std::lock_guard lock(mutex_);
      events_.push_back(line);
    });
  }
  std::unique_ptr<Hub> hub() { return hub(settings()); }
  std::unique_ptr<Hub> offline_hub(const std::string& cache = "cache") {
    Settings offline = settings(cache);
    offline.offline = true;
    return hub(offline);
  }
  static net::ClientOptions quick() {
    net::ClientOptions options;
    options.retry = {.patience = 0.3,
                     .first_wait = 0.01,
                     .longest_wait = 0.02,
                     .longest_asked = 0.02,
                     .connect_timeout = 5,
                     .stall_timeout = 0.5};
    return options;
  }

  static std::string large_file() {
    std::string bytes(5000, '\0');
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 % 256);
    return bytes;
  }

  const std::string large_ = large_file();
  const Address all_ = Address::parse("hf://datasets/user/name");
  // As git and sha256sum have them.
  const File readme_{
      .path = "README.md", .size = 14, .oid = "3ab4965bc9689ca114be51e5d760daaf33792fdc", .lfs = false};
  const File small_file_{.path = "data/small.jsonl",
                         .size = 22,
                         .oid = "2da34934a8af22d54759f4b0e2904017062a996c",
                         .lfs = false};
  const File large_file_{.path = "data/deep/large.bin",
                         .size = 5000,
                         .oid = "b0abe1fc3221488396cb845b73dad2a0838923837dfd67247b06e596fff3f2c3",
                         .lfs = true};
  static constexpr const char* kCommit = "945f6477ea65216ac0dd39af2173fc798c664508";

  test::TestFolder folder_;
  std::optional<test::HubServer> server_;
  std::mutex mutex_;
  std::vector<std::string> events_;
  std::optional<net::Client> client_{quick()};
};

}  // namespace moe::hub
