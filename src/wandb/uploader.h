// SPDX-License-Identifier: MIT
// An Upload on a thread of its own. Training never waits for it; only finish() does, for a while.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>

#include "base/terminal.h"
#include "net/http.h"
#include "wandb/config.h"
#include "wandb/upload.h"

namespace moe::wandb {

class Uploader {
 public:
  static constexpr double kPatience = 60;        // seconds that finish() waits while requests succeed
  static constexpr double kPatienceOffline = 5;  // while they fail

  Uploader(Settings settings, const std::filesystem::path& records, bool continued, Terminal& terminal);
  ~Uploader();
  Uploader(const Uploader&) = delete;
  Uploader& operator=(const Uploader&) = delete;

  // The file is complete: uploads the rest and says in one line what is there, and what to do about the rest.
  void finish();

 private:
  void run();

  const Settings settings_;
  const std::filesystem::path folder_;
  Terminal& terminal_;
  net::Client client_;
  Upload upload_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool hurry_ = false, stopping_ = false, over_ = false, failing_ = false;
  std::thread thread_;
};

}  // namespace moe::wandb
