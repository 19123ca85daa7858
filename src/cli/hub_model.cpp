// SPDX-License-Identifier: MIT
#include "cli/hub_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/format.h"
#include "base/progress.h"
#include "cli/model_files.h"
#include "hub/settings.h"
#include "interop/hf_weights.h"
#include "interop/imported_model.h"
#include "text/chat.h"

namespace moe::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kForm = "hf://USER/NAME[@REVISION][/FOLDER], a model";

// What import takes beside the weights; the last three are of `moe export`.
bool is_small_file(std::string_view name) {
  return interop::is_kept_file(name) || name == kRunState || name == text::kChatNote ||
         name == "moe_norms.safetensors";
}

hub::Address model_address(const std::string& place) {
  hub::Address address = hub::Address::parse(place);
  if (address.kind != "models") throw UserError(place, kForm, "a data set");
  return address;
}

net::ClientOptions client_options(Terminal& terminal) {
  net::ClientOptions options = net::ClientOptions::from_environment();
  hub::Settings::from_environment().apply(options);
  options.on_event = [&terminal](const std::string& line) { terminal.line(line); };
  return options;
}

std::string base_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

HubModel::HubModel(const std::string& place, Terminal& terminal)
    : place_(place),
      terminal_(terminal),
      client_(client_options(terminal)),
      hub_(hub::Settings::from_environment(), client_,
           [&terminal](const std::string& line) { terminal.line(line); }),
      address_(model_address(place)) {
  const size_t inside = address_.path.empty() ? 0 : address_.path.size() + 1;
  for (hub::File& file : hub_.list(address_))
    if (file.path.size() > inside && file.path.find('/', inside) == std::string::npos)
      files_.push_back(std::move(file));
  read_settings();
  find_weights();
}

void HubModel::read_settings() {
  const hub::File* const config = find("config.json");
  if (config == nullptr)
    throw UserError(place_, "config.json, the settings of a model", "none",
                    hub_.settings().offline ? "HF_HUB_OFFLINE is set: unset it to ask the hub"
                                            : "name the folder that has it: hf://USER/NAME/FOLDER");
  const fs::path path = hub_.download(address_, *config);
  folder_ = path.parent_path();
  model_ = interop::read_hf_model(place_ + "/config.json", read_file(path));
}

std::string HubModel::name() const {
  return base_name(address_.repo);
}

uint64_t HubModel::weight_bytes() const {
  uint64_t bytes = 0;
  for (const hub::File& file : weights_) bytes += static_cast<uint64_t>(file.size);
  return bytes;
}

const hub::File* HubModel::find(std::string_view name) const {
  const auto found =
      std::ranges::find_if(files_, [&](const hub::File& file) { return base_name(file.path) == name; });
  return found == files_.end() ? nullptr : &*found;
}

// The same choice as that of interop/hf_weights.h: an index goes before a single file.
void HubModel::find_weights() {
  std::set<std::string> names;
  if (const hub::File* const index = find(interop::kShardIndex)) {
    const std::string path = hub_.download(address_, *index).string();
    for (auto& [tensor, file] : interop::read_shard_index(path, read_file(path))) names.insert(file);
  } else {
    names.insert(interop::kSingleFile);
  }
  for (const std::string& name : names) {
    const hub::File* const file = find(name);
    if (file == nullptr)
      throw UserError(place_, name + ", weights of the model", "no such file",
                      hub_.settings().offline
                          ? "HF_HUB_OFFLINE is set: unset it to ask the hub"
                          : "only safetensors files are read: load the model with transformers and "
                            "save_pretrained it");
    weights_.push_back(*file);
  }
}

void HubModel::fetch_small() {
  std::vector<hub::File> small;
  for (const hub::File& file : files_)
    if (is_small_file(base_name(file.path))) small.push_back(file);
  fetch(small, "fetching the tokenizer");
}

void HubModel::check_index(const interop::Family& family, const model::ModelConfig& config) const {
  const fs::path index = folder_ / interop::kShardIndex;
  if (find(interop::kShardIndex) != nullptr)
    interop::check_shard_index(index.string(), interop::read_shard_index(index.string(), read_file(index)),
                               interop::tensors_of(family, config), interop::prediction_from(family, config));
}

void HubModel::fetch_weights() {
  fetch(weights_, "fetching " + address_.repo);
}

void HubModel::fetch(const std::vector<hub::File>& files, const std::string& what) {
  const std::string commit = hub_.commit(address_);
  uint64_t bytes = 0;
  int64_t missing = 0;
  for (const hub::File& file : files) {
    if (hub_.cache().find(address_, commit, file)) continue;
    bytes += static_cast<uint64_t>(file.size);
    missing += hub_.cache().missing_bytes(address_, file);
  }
  if (bytes == 0) {
    for (const hub::File& file : files) hub_.download(address_, file);  // only links them
    return;
  }
  std::error_code unknown;
  fs::create_directories(hub_.cache().folder(), unknown);
  const fs::space_info space = fs::space(hub_.cache().folder(), unknown);
  if (!unknown && static_cast<int64_t>(space.available) < missing)
    throw UserError(
        hub_.cache().folder().string(),
        fmt::format("{} of disk space for {}", format_bytes(static_cast<double>(missing)), place_),
        format_bytes(static_cast<double>(space.available)) + " free",
        "free some space, or name another folder in HF_HUB_CACHE; what is there is kept");
  Progress progress(terminal_, what, bytes, "bytes");
  for (const hub::File& file : files)
    hub_.download(address_, file, [&](uint64_t count) { progress.add(count); });
  progress.done();
}

}  // namespace moe::cli
