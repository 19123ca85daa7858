// SPDX-License-Identifier: MIT
// The few calls of the Weights & Biases service that a run needs: GraphQL for the run itself, file_stream for
// its lines. One attempt each; who calls decides what to do about a failure (wandb/upload.h). Failures are
// those of net/http.h: HttpError, Unreachable, other UserErrors for answers that make no sense.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "net/http.h"
#include "wandb/config.h"

namespace moe::wandb {

// Lines that the service has of a run.
struct LineCounts {
  int64_t history = 0, events = 0, output = 0;
};

struct RemoteRun {
  std::string entity, project, name;
};

// What to tell the service of a run; the *_json are JSON texts.
struct RunDescription {
  std::string id, project, entity, display_name, notes, group, job_type, host, config_json;
  std::vector<std::string> tags;
};

class Api {
 public:
  Api(const Settings& settings, net::Client& client) : settings_(settings), client_(client) {}

  // None: there is no such run (or it never started).
  std::optional<LineCounts> counts(const std::string& id);
  // Makes the run, or changes it.
  RemoteRun upsert(const RunDescription& run);
  // body: {"files": ...}. Returns whether somebody has pressed "stop" in the browser.
  bool post_lines(const RemoteRun& run, const std::string& id, const std::string& body);
  void alert(const RemoteRun& run, const std::string& id, const std::string& title, const std::string& text);

 private:
  std::string post(const std::string& path, const std::string& body);
  std::string graphql(const std::string& query, const std::string& variables_json);  // {"data": ...} -> ...

  const Settings& settings_;
  net::Client& client_;
};

// "Basic ..." for user "api" (RFC 7617).
std::string basic_authorization(const std::string& key);

}  // namespace moe::wandb
