// SPDX-License-Identifier: MIT
// Opening a checkpoint: every file is verified before anything of it is used.
#include "checkpoint/checkpoint.h"

#include <fmt/format.h>

#include <set>

#include "base/error.h"
#include "base/file.h"
#include "checkpoint/manifest.h"
#include "checkpoint/step_folder.h"

namespace moe::checkpoint {
namespace {

namespace fs = std::filesystem;

struct Contents {
  Manifest manifest;
  std::map<std::string, MappedFile> files;
};

Contents read_verified(const fs::path& folder) {
  const fs::path manifest_path = folder / kManifestName;
  if (!fs::is_directory(folder)) throw UserError(folder.string(), "the folder of a checkpoint", "none");
  if (!fs::exists(manifest_path)) {
    throw UserError(manifest_path.string(), "the manifest of a whole checkpoint", "no such file");
  }
  Contents contents{parse_manifest(manifest_path.string(), read_file(manifest_path)), {}};
  for (const auto& [name, expected] : contents.manifest.files) {
    const std::string where = (folder / name).string();
    if (!fs::exists(folder / name)) throw UserError(where, "a file of the checkpoint", "no such file");
    MappedFile file(folder / name);
    if (file.size() != expected.bytes) {
      throw UserError(where, fmt::format("{} bytes", expected.bytes), fmt::format("{}", file.size()));
    }
    Hash hash;
    hash.add(file.data(), file.size());
    if (const std::string found = hash.hex(); found != expected.hash) {
      throw UserError(where, "contents with XXH3-128 hash " + expected.hash, found);
    }
    contents.files.emplace(name, std::move(file));
  }
  return contents;
}

bool is_intact(const fs::path& folder) {
  try {
    read_verified(folder);
    return true;
  } catch (const UserError&) {
    return false;  // only asked to give advice about another one
  }
}

// What to do about a broken checkpoint: looks for an older one, newest first, until one is good.
std::string advice(const fs::path& folder) {
  const auto broken = step_of(folder.filename().string());
  const fs::path parent = folder_of(folder);
  if (!broken || !fs::is_directory(parent)) return "";
  const auto steps = whole_steps(parent);
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    const std::string name = step_name(*step);
    if (*step < *broken && is_intact(parent / name)) {
      return fmt::format("{} is intact: write that name into {} to go on from there", name,
                         (parent / kLatestName).string());
    }
  }
  return "there is no older checkpoint that is intact";
}

Contents read_or_advise(const fs::path& folder) {
  try {
    return read_verified(folder);
  } catch (const UserError& error) {
    const std::string more = advice(folder);
    const bool both = !error.hint.empty() && !more.empty();
    throw UserError(error.where, error.expected, error.found, error.hint + (both ? "; " : "") + more);
  }
}

}  // namespace

Checkpoint::Checkpoint(const fs::path& folder) : folder_(folder) {
  if (!folder_.has_filename()) folder_ = folder_.parent_path();  // "step-00000123/"
  Contents contents = read_or_advise(folder_);
  step_ = contents.manifest.step;
  program_ = contents.manifest.program;
  bytes_ = std::move(contents.files);
  for (const auto& [name, file] : bytes_) {
    if (name == kStateName) {
      state_json_.assign(reinterpret_cast<const char*>(file.data()), file.size());
    } else {
      files_.emplace(name, Safetensors((folder_ / name).string(), file.bytes()));
    }
  }
}

const Safetensors& Checkpoint::file(const std::string& name) const {
  const auto found = files_.find(name);
  if (found == files_.end()) {
    throw UserError(folder_.string(), "a file " + name, "none",
                    "the checkpoint was written for another purpose");
  }
  return found->second;
}

template <class Named>
const Safetensors& Checkpoint::expect_names(const std::string& name,
                                            const std::vector<Named>& tensors) const {
  const Safetensors& source = file(name);
  std::set<std::string_view> wanted;
  for (const Named& tensor : tensors) wanted.insert(tensor.name);
  for (const auto& entry : source.entries()) {
    if (!wanted.contains(entry.name)) {
      throw UserError((folder_ / name).string(),
                      fmt::format("only the {} tensors of this run", wanted.size()), "tensor " + entry.name,
                      "the settings differ from those of the run that saved it");
    }
  }
  return source;
}

void Checkpoint::load(const std::string& name, const std::vector<NamedTensor>& tensors,
                      Device& device) const {
  const Safetensors& source = expect_names(name, tensors);
  for (const NamedTensor& tensor : tensors) source.load(tensor.name, tensor.tensor, device);
}

void Checkpoint::load_parts(const std::string& name, const std::vector<NamedShard>& parts,
                            Device& device) const {
  const Safetensors& source = expect_names(name, parts);
  for (const NamedShard& part : parts) source.load(part, device);
}

}  // namespace moe::checkpoint
