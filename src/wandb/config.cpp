// SPDX-License-Identifier: MIT
#include "wandb/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "net/url.h"

namespace moe::wandb {
namespace {

constexpr const char* kBaseUrl = "https://api.wandb.ai";

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) {
    const size_t begin = part.find_first_not_of(' '), end = part.find_last_not_of(' ');
    if (begin != std::string::npos) parts.push_back(part.substr(begin, end - begin + 1));
  }
  return parts;
}

// "https://api.wandb.ai:443/x" -> "api.wandb.ai"
std::string host_of(std::string_view url) {
  if (const size_t scheme = url.find("://"); scheme != std::string_view::npos) url.remove_prefix(scheme + 3);
  return std::string(url.substr(0, url.find_first_of(":/")));
}

std::string key_from_netrc(const std::string& base_url, const Environment& environment) {
  const std::string named = environment("NETRC"), home = environment("HOME");
  std::vector<std::filesystem::path> places;
  if (!named.empty()) places.emplace_back(named);
  if (!home.empty()) places.insert(places.end(), {home + "/.netrc", home + "/_netrc"});
  for (const auto& place : places) {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(place, ignored)) continue;
    if (const auto password = netrc_password(read_file(place), host_of(base_url))) return *password;
  }
  return "";
}

Mode mode_named(const std::string& name) {
  if (name == "online" || name == "run") return Mode::online;
  if (name == "offline" || name == "dryrun") return Mode::offline;
  if (name == "disabled") return Mode::disabled;
  throw UserError("WANDB_MODE", "one of: online, offline, disabled", fmt::format("\"{}\"", name),
                  name == "shared" ? "several writers of one run are not possible here" : "");
}

Resume resume_named(const std::string& name) {
  if (name.empty() || name == "false") return Resume::unset;
  if (name == "allow" || name == "auto" || name == "true") return Resume::allow;
  if (name == "must") return Resume::must;
  if (name == "never") return Resume::never;
  throw UserError("WANDB_RESUME", "one of: allow, must, never, auto", fmt::format("\"{}\"", name));
}

void check_base_url(const std::string& url) {
  try {
    net::Url::parse(url);
  } catch (const UserError& error) {
    throw UserError("WANDB_BASE_URL", error.expected, fmt::format("\"{}\"", url));
  }
}

void choose_mode(Settings& settings, const std::string& asked, bool wanted) {
  if (!asked.empty()) {
    settings.mode = mode_named(asked);
  } else if (wanted) {
    settings.mode = Mode::online;
  }
  if (settings.mode != Mode::online || !settings.api_key.empty()) return;
  settings.mode = Mode::offline;
  settings.why =
      fmt::format("there is no key for {} (set WANDB_API_KEY, or run `wandb login`)", settings.base_url);
}

}  // namespace

void Config::describe(Fields& fields) {
  fields.add("wandb_project", project,
             "Weights & Biases: project; \"\" is WANDB_PROJECT, and off without either");
  fields.add("wandb_entity", entity, "user or team; \"\" is WANDB_ENTITY, else the key's own");
  fields.add("wandb_mode", mode, "\"\" is WANDB_MODE, else online with a key and offline without");
  fields.add("wandb_name", name, "name of the run there; \"\" is WANDB_NAME, else that of the run's folder");
  fields.add("wandb_group", group, "group of runs; \"\" is WANDB_RUN_GROUP");
  fields.add("wandb_job_type", job_type, "kind of run; \"\" is WANDB_JOB_TYPE");
  fields.add("wandb_tags", tags, "[] is WANDB_TAGS");
  fields.add("wandb_notes", notes, "\"\" is WANDB_NOTES");
}

std::string process_environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

Settings resolve(const Config& config, const std::filesystem::path& default_folder,
                 const std::string& default_name, const Environment& environment) {
  const auto either = [&](const std::string& given, const char* variable) {
    return given.empty() ? environment(variable) : given;
  };
  Settings settings;
  settings.base_url = either("", "WANDB_BASE_URL");
  if (settings.base_url.empty()) settings.base_url = kBaseUrl;
  while (settings.base_url.ends_with('/')) settings.base_url.pop_back();
  settings.project = either(config.project, "WANDB_PROJECT");
  settings.entity = either(config.entity, "WANDB_ENTITY");
  settings.name = either(config.name, "WANDB_NAME");
  settings.notes = either(config.notes, "WANDB_NOTES");
  settings.group = either(config.group, "WANDB_RUN_GROUP");
  settings.job_type = either(config.job_type, "WANDB_JOB_TYPE");
  settings.tags = config.tags.empty() ? split(environment("WANDB_TAGS"), ',') : config.tags;
  settings.run_id = environment("WANDB_RUN_ID");
  check_run_id("WANDB_RUN_ID", settings.run_id);
  settings.resume = resume_named(environment("WANDB_RESUME"));
  const std::string folder = environment("WANDB_DIR"), silent = environment("WANDB_SILENT");
  settings.folder = folder.empty() ? default_folder : std::filesystem::path(folder);
  settings.silent = silent == "true" || silent == "1";
  settings.api_key = environment("WANDB_API_KEY");
  const std::string mode = either(std::string(name_of(config.mode)), "WANDB_MODE");
  const bool wanted = !settings.project.empty() || !settings.run_id.empty();
  if (settings.api_key.empty() && (wanted || !mode.empty()) && mode != "disabled")
    settings.api_key = key_from_netrc(settings.base_url, environment);
  choose_mode(settings, mode, wanted);
  if (settings.mode == Mode::online) check_base_url(settings.base_url);
  if (settings.project.empty()) settings.project = "uncategorized";
  if (settings.name.empty()) settings.name = default_name;
  return settings;
}

void check_run_id(const std::string& where, const std::string& id) {
  const bool controls =
      std::any_of(id.begin(), id.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  if (id.size() <= 128 && !controls && id.find_first_of("/\\#?%: ") == std::string::npos && id != "." &&
      id != "..")
    return;
  throw UserError(where, "at most 128 characters without blanks and / \\ # ? % :",
                  fmt::format("\"{}\"", id.substr(0, 200)));
}

std::optional<std::string> netrc_password(std::string_view netrc, std::string_view host) {
  std::istringstream words{std::string(netrc)};
  bool here = false;
  for (std::string word; words >> word;) {
    std::string value;
    if (word == "default") {
      here = true;
    } else if (word == "machine") {
      if (words >> value) here = value == host;
    } else if (word == "password") {
      if (words >> value && here) return value;
    } else if (word == "login" || word == "account") {
      words >> value;
    }
  }
  return std::nullopt;
}

}  // namespace moe::wandb
