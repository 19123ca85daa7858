// SPDX-License-Identifier: MIT
#include "cli/model_files.h"

#include <filesystem>

#include "train/run_folder.h"

namespace moe::cli {

TrainedModel open_model(const std::string& path, const std::vector<std::string>& overrides) {
  namespace fs = std::filesystem;
  if (fs::exists(fs::path(path) / "manifest.json")) {
    // <run>/checkpoints/step-00000123
    const RunFolder run = RunFolder::open(fs::absolute(path).lexically_normal().parent_path().parent_path());
    return {RunConfig::load(run.config(), overrides), Checkpoint(path)};
  }
  const RunFolder run = RunFolder::open(path);
  return {RunConfig::load(run.config(), overrides), CheckpointStore(run.checkpoints(), 0).open_latest()};
}

void load_weights(Weights& weights, const Checkpoint& checkpoint, Backend& backend) {
  checkpoint.load("model.safetensors", weights.named(), *backend.device);
  cast_weights(weights, *backend.ops);
}

}  // namespace moe::cli
