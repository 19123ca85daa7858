// SPDX-License-Identifier: MIT
// What the user says about Weights & Biases: settings of the config file's `logging` section, then the
// environment (WANDB_*), then ~/.netrc for the key. A setting that is given wins over the environment, as in
// wandb's own library.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fields.h"

namespace moe::wandb {

enum class ModeSetting : uint8_t { unset, online, offline, disabled };
constexpr auto choices_of(ModeSetting) {
  return choices<ModeSetting>({{ModeSetting::unset, ""},
                               {ModeSetting::online, "online"},
                               {ModeSetting::offline, "offline"},
                               {ModeSetting::disabled, "disabled"}});
}

// As written in the config file; "" everywhere: ask the environment.
struct Config {
  ModeSetting mode = ModeSetting::unset;
  std::string project = {}, entity = {}, name = {}, notes = {}, group = {}, job_type = {};
  std::vector<std::string> tags = {};

  void describe(Fields& fields);
};

enum class Mode : uint8_t { disabled, offline, online };
enum class Resume : uint8_t { unset, allow, must, never };

struct Settings {
  Mode mode = Mode::disabled;
  std::string why;  // one line on how the mode came about, for the terminal; "" when it was asked for
  std::string project = {}, entity = {}, name = {}, notes = {}, group = {}, job_type = {};
  std::vector<std::string> tags = {};
  std::string run_id;  // "" when it was not given
  Resume resume = Resume::unset;
  std::filesystem::path folder;  // the folder that `wandb/` is made in
  std::string base_url, api_key;
  bool silent = false;  // no lines of ours on the terminal
};

using Environment = std::function<std::string(const char*)>;  // "" for what is not set
std::string process_environment(const char* name);

// default_folder: where `wandb/` is made without WANDB_DIR; default_name: the run's name without another.
// Nothing of Weights & Biases is written unless a project, a mode or a run id is given. UserError for values
// it cannot know.
Settings resolve(const Config& config, const std::filesystem::path& default_folder,
                 const std::string& default_name, const Environment& environment = process_environment);

// UserError naming `where` for an id that could not be part of a file's name and of an address; "" is one not
// given.
void check_run_id(const std::string& where, const std::string& id);

// The password that a netrc file has for a host ("machine HOST login user password KEY", in any layout).
std::optional<std::string> netrc_password(std::string_view netrc, std::string_view host);

}  // namespace moe::wandb
