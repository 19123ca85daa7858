// SPDX-License-Identifier: MIT
// Brings the lines of a .wandb file to the service: each once and in order, whatever the network does. A
// line's number says where it belongs, so a request whose answer got lost is simply sent again, and a later
// process goes on after what the service has. The file is the queue: it holds what could not be sent yet, and
// an outage costs no memory.
// No thread and no clock here: step() does at most a few requests and says when to come again
// (wandb/uploader.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/terminal.h"
#include "net/http.h"
#include "wandb/api.h"
#include "wandb/lines.h"

namespace moe::wandb {

class Upload {
 public:
  static constexpr double kPace = 15, kHeartbeat = 30;        // seconds between requests; the longest silence
  static constexpr double kFirstWait = 2, kLongestWait = 60;  // after a failure; doubles
  static constexpr int64_t kMostBytes = 4 << 20;              // of lines in one request
  static constexpr int kMostConflicts = 5;                    // in a row

  // records: the file, with its Run record. continued: an earlier process has uploaded from this very file;
  // only otherwise settings.resume counts. Everything is used for as long as the object lives.
  Upload(const Settings& settings, std::filesystem::path records, bool continued, net::Client& client,
         Terminal& terminal);

  // now: seconds of any steady clock. Returns how long to wait before the next call, 0 when there is more to
  // do. Never throws but net::Cancelled.
  double step(double now);
  // No more pauses between requests that succeed: the run has ended.
  void hurry() { hurry_ = true; }
  // The whole file is there, or it has been given up.
  bool done() const { return complete_ || given_up_; }
  bool complete() const { return complete_; }
  bool failing() const { return failures_ > 0; }

  int64_t uploaded() const { return uploaded_; }  // lines of history that the service has
  std::string url() const;                        // of the run in a browser; "" before it was made

 private:
  bool start();
  void send();
  void send_alerts();
  std::string body() const;
  double failed(const std::string& reason, const std::optional<double>& asked);
  double refused(long status, const UserError& error);
  void give_up(const std::string& reason, const std::string& hint);

  const Settings& settings_;
  const std::filesystem::path records_;
  const bool continued_;
  net::Client& client_;
  Terminal& terminal_;
  Api api_;

  std::optional<LineReader> lines_;  // none: to be made, from the service's counts
  RemoteRun run_;
  std::string id_;
  LineCounts base_;  // lines the service had of this run before this file
  bool started_ = false;
  size_t alerts_sent_ = 0;
  int64_t revision_sent_ = 0;
  int64_t uploaded_ = 0;
  double last_post_ = 0;
  int failures_ = 0, conflicts_ = 0;
  bool hurry_ = false, complete_ = false, given_up_ = false, told_stopped_ = false;
};

}  // namespace moe::wandb
