// SPDX-License-Identifier: MIT
#include "cli/model_files.h"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "base/error.h"
#include "base/version.h"
#include "checkpoint/finite.h"
#include "cli/precision.h"
#include "train/resume.h"
#include "train/run_folder.h"

namespace moe::cli {

namespace {

TrainedModel open_weights(const std::string& path, const std::vector<std::string>& overrides) {
  namespace fs = std::filesystem;
  fs::path step = fs::path(path).lexically_normal();  // <run>/checkpoints/step-00000123, perhaps a file in it
  if (!fs::is_directory(step) || !step.has_filename()) step = step.parent_path();
  if (fs::exists(step / "manifest.json")) {
    const train::RunFolder run =
        train::RunFolder::open(fs::absolute(step).lexically_normal().parent_path().parent_path());
    return {train::RunConfig::load_run(run.config(), overrides), checkpoint::Checkpoint(step)};
  }
  const train::RunFolder run = train::RunFolder::open(path);
  return {train::RunConfig::load_run(run.config(), overrides),
          checkpoint::CheckpointStore(run.checkpoints(), 0).open_latest()};
}

}  // namespace

TrainedModel open_model(const std::string& path, const std::vector<std::string>& overrides, bool average) {
  TrainedModel model = open_weights(path, overrides);
  settle_precision(model.config);
  const std::string state = (model.checkpoint.folder() / "state.json").string();
  train::expect_tokenizer(state, train::read_state(state, model.checkpoint.state_json()),
                          model.config.data.tokenizer.facts());
  if (!average) return model;
  model.weights = checkpoint::kAverageFile;
  if (!model.checkpoint.contains(model.weights))
    throw UserError(model.checkpoint.folder().string(),
                    fmt::format("averaged weights ({}) for --ema", model.weights), "none",
                    "a run keeps them with training.ema_decay=0.999");
  return model;
}

void add_average(CLI::App& command, bool& average) {
  command.add_flag("--ema", average, "The moving average of the weights (training.ema_decay)");
}

void load_weights(model::Weights& weights, const TrainedModel& trained, backend::Backend& backend) {
  const checkpoint::Safetensors& file = trained.checkpoint.file(trained.weights);
  for (const auto& entry : file.entries())
    checkpoint::require_finite(
        fmt::format("{}: tensor {}", (trained.checkpoint.folder() / trained.weights).string(), entry.name),
        entry.dtype, file.bytes(entry));
  trained.checkpoint.load(trained.weights, weights.named(), *backend.device);
  model::cast_weights(weights, *backend.ops);
}

void put_run_in(const std::filesystem::path& folder, train::RunConfig& config) {
  namespace fs = std::filesystem;
  config.training.output_dir =
      folder.has_parent_path() ? (folder / ".").parent_path().parent_path().string() : ".";
  config.training.run_name = fs::absolute(folder / ".").parent_path().filename().string();
}

checkpoint::CheckpointStore save_only_checkpoint(const std::filesystem::path& folder,
                                                 std::vector<checkpoint::TensorStream> streams,
                                                 const train::SavedState& state,
                                                 const train::RunConfig& config) {
  checkpoint::CheckpointStore store(folder / "checkpoints", 0, program_version());
  store.save(state.step, {{checkpoint::kModelFile, std::move(streams)}},
             train::state_json(state.step, state.cursor, state.source, config));
  return store;
}

std::vector<checkpoint::TensorStream> with_progress(std::vector<checkpoint::TensorStream> streams,
                                                    Progress& progress) {
  for (checkpoint::TensorStream& stream : streams)
    stream.write = [inner = std::move(stream.write), &progress](const checkpoint::TensorStream::Sink& sink) {
      inner([&](const void* data, size_t size) {
        sink(data, size);
        progress.add(size);
      });
    };
  return streams;
}

std::string model_difference(const model::ModelConfig& one, model::ModelConfig other,
                             std::initializer_list<double model::ModelConfig::*> does_not_count) {
  for (const auto member : does_not_count) other.*member = one.*member;
  other.max_seq_len = one.max_seq_len;
  train::RunConfig first, second;
  first.model = one;
  second.model = std::move(other);
  const auto differences = config_differences(first.sections(), second.sections());
  return differences.empty() ? "" : differences.front();
}

std::filesystem::path run_of(const checkpoint::Checkpoint& checkpoint) {
  return std::filesystem::absolute(checkpoint.folder()).lexically_normal().parent_path().parent_path();
}

void load_weights(model::Weights& weights, const interop::ImportedWeights& imported,
                  backend::Backend& backend) {
  const auto streams = imported.streams();
  const auto named = weights.named();
  CHECK(streams.size() == named.size());
  std::vector<char> whole;
  for (size_t i = 0; i < streams.size(); ++i) {
    CHECK(streams[i].name == named[i].name);
    whole.clear();
    streams[i].write([&](const void* data, size_t size) {
      whole.insert(whole.end(), static_cast<const char*>(data), static_cast<const char*>(data) + size);
    });
    CHECK(std::ssize(whole) == named[i].tensor.bytes(), named[i].name);
    backend.device->to_device(named[i].tensor, whole.data());
  }
  model::cast_weights(weights, *backend.ops);
}

}  // namespace moe::cli
