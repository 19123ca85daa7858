// SPDX-License-Identifier: MIT
#include "wandb/api.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/json.h"

namespace moe::wandb {
namespace {

constexpr const char* kUpsert = R"(
mutation UpsertBucket($name: String, $project: String, $entity: String, $groupName: String, $displayName: String,
    $notes: String, $config: JSONString, $host: String, $program: String, $jobType: String, $tags: [String!]) {
  upsertBucket(input: {name: $name, modelName: $project, entityName: $entity, groupName: $groupName,
      displayName: $displayName, notes: $notes, config: $config, host: $host, jobProgram: $program,
      jobType: $jobType, tags: $tags}) {
    bucket { id name displayName historyLineCount project { name entity { name } } }
    inserted
  }
})";

constexpr const char* kResumeStatus = R"(
query RunResumeStatus($project: String, $entity: String, $name: String!) {
  model(name: $project, entityName: $entity) {
    id
    name
    entity { id name }
    bucket(name: $name, missingOk: true) {
      id name displayName historyLineCount eventsLineCount logLineCount wandbConfig(keys: ["t"])
    }
  }
})";

constexpr const char* kAlert = R"(
mutation NotifyScriptableRunAlert($entityName: String!, $projectName: String!, $runName: String!, $title: String!,
    $text: String!, $severity: AlertSeverity) {
  notifyScriptableRunAlert(input: {entityName: $entityName, projectName: $projectName, runName: $runName,
      title: $title, text: $text, severity: $severity}) { success }
})";

Json or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

// The value at a path of names; null when any of them is missing.
Json at(const Json& object, std::initializer_list<const char*> path) {
  const Json* here = &object;
  for (const char* name : path) {
    if (!here->is_object()) return nullptr;
    const auto found = here->find(name);
    if (found == here->end()) return nullptr;
    here = &*found;
  }
  return *here;
}

std::string text_at(const Json& object, std::initializer_list<const char*> path) {
  const Json value = at(object, path);
  return value.is_string() ? value.get<std::string>() : "";
}

int64_t count_at(const Json& object, const char* name) {
  const Json value = at(object, {name});
  return value.is_number_integer() ? value.get<int64_t>() : 0;
}

}  // namespace

std::string basic_authorization(const std::string& key) {
  constexpr const char* kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const std::string plain = "api:" + key;
  std::string text;
  for (size_t i = 0; i < plain.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t j = 0; j < 3; ++j)
      bits = bits << 8 | (i + j < plain.size() ? static_cast<uint8_t>(plain[i + j]) : 0U);
    for (size_t j = 0; j < 4; ++j) text += i + j <= plain.size() ? kDigits[bits >> (18 - 6 * j) & 63] : '=';
  }
  return "Basic " + text;
}

std::string Api::post(const std::string& path, const std::string& body) {
  net::Request request{.url = net::Url::parse(settings_.base_url + path), .method = "POST", .payload = body};
  request.headers = {{"Content-Type", "application/json"},
                     {"Authorization", basic_authorization(settings_.api_key)}};
  request.follow = false;  // the key is for this server
  request.name = settings_.base_url;
  const net::Response response = client_.get(request);
  if (response.status >= 300)
    throw UserError(settings_.base_url, "an answer", fmt::format("a redirect (HTTP {})", response.status),
                    "check WANDB_BASE_URL");
  return response.body;
}

std::string Api::graphql(const std::string& query, const std::string& variables_json) {
  const Json request{{"query", query}, {"variables", parse_json("variables", variables_json)}};
  const Json answer = try_parse_json(post("/graphql", request.dump())).value_or(nullptr);
  const Json data = at(answer, {"data"});
  const Json errors = at(answer, {"errors"});
  if (!data.is_object() || (errors.is_array() && !errors.empty())) {
    const std::string found =
        errors.is_array() && !errors.empty() ? text_at(errors[0], {"message"}) : "something else";
    throw UserError(settings_.base_url, "an answer of Weights & Biases", excerpt(found, 200),
                    "check WANDB_BASE_URL, and the rights of the key for this project");
  }
  return data.dump();
}

std::optional<LineCounts> Api::counts(const std::string& id) {
  const Json variables = {
      {"project", settings_.project}, {"entity", or_null(settings_.entity)}, {"name", id}};
  const Json bucket =
      at(parse_json(settings_.base_url, graphql(kResumeStatus, variables.dump())), {"model", "bucket"});
  if (!bucket.is_object()) return std::nullopt;
  return LineCounts{count_at(bucket, "historyLineCount"), count_at(bucket, "eventsLineCount"),
                    count_at(bucket, "logLineCount")};
}

RemoteRun Api::upsert(const RunDescription& run) {
  const Json variables = {{"name", run.id},
                          {"project", run.project},
                          {"entity", or_null(run.entity)},
                          {"groupName", or_null(run.group)},
                          {"displayName", or_null(run.display_name)},
                          {"notes", or_null(run.notes)},
                          {"config", run.config_json},
                          {"host", or_null(run.host)},
                          {"program", "moe"},
                          {"jobType", or_null(run.job_type)},
                          {"tags", run.tags}};
  const Json bucket =
      at(parse_json(settings_.base_url, graphql(kUpsert, variables.dump())), {"upsertBucket", "bucket"});
  RemoteRun remote{text_at(bucket, {"project", "entity", "name"}), text_at(bucket, {"project", "name"}),
                   text_at(bucket, {"displayName"})};
  if (remote.entity.empty() || remote.project.empty())
    throw UserError(settings_.base_url, "the run with its project and entity", "an answer without them",
                    "set WANDB_ENTITY");
  return remote;
}

bool Api::post_lines(const RemoteRun& run, const std::string& id, const std::string& body) {
  const std::string path = fmt::format("/files/{}/{}/{}/file_stream", net::percent_encode(run.entity),
                                       net::percent_encode(run.project), net::percent_encode(id));
  const Json stopped = at(try_parse_json(post(path, body)).value_or(nullptr), {"stopped"});
  return stopped.is_boolean() && stopped.get<bool>();
}

void Api::alert(const RemoteRun& run, const std::string& id, const std::string& title,
                const std::string& text) {
  const Json variables = {{"entityName", run.entity},
                          {"projectName", run.project},
                          {"runName", id},
                          {"title", title},
                          {"text", text},
                          {"severity", "WARN"}};
  graphql(kAlert, variables.dump());
}

}  // namespace moe::wandb
