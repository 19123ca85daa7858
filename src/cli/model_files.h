// SPDX-License-Identifier: MIT
// A trained model from disk, for the commands that read one.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/progress.h"
#include "checkpoint/checkpoint.h"
#include "interop/export_weights.h"
#include "model/transformer.h"
#include "model/weights.h"
#include "train/resume.h"
#include "train/run_config.h"

namespace moe::cli {

struct TrainedModel {
  train::RunConfig config;
  checkpoint::Checkpoint checkpoint;
  const char* weights = checkpoint::kModelFile;  // the file of the checkpoint that they are read from
};

// path: a run, a folder of runs, or one checkpoint of a run. overrides apply to the run's settings. average:
// its averaged weights; a UserError where it has none.
TrainedModel open_model(const std::string& path, const std::vector<std::string>& overrides,
                        bool average = false);
// The flag of commands that can read these.
void add_average(CLI::App& command, bool& average);

// The run's folder that a checkpoint lies in.
std::filesystem::path run_of(const checkpoint::Checkpoint& checkpoint);

// Weights and a forward pass of this shape, for place().
struct PlacedModel {
  PlacedModel(const model::ModelConfig& config, const model::WeightTypes& types,
              const model::MicroBatch& shape, Arena& arena)
      : weights(config, types, model::Mode::inference, arena), transformer(config, shape, weights, arena) {}

  model::Weights weights;
  model::Transformer transformer;
};

// Fills weights from the checkpoint, or from an exported folder one tensor at a time; compute copies
// included.
void load_weights(model::Weights& weights, const TrainedModel& trained, backend::Backend& backend);
void load_weights(model::Weights& weights, const interop::ImportedWeights& imported,
                  backend::Backend& backend);

// The settings of a run that lies in `folder`: training.output_dir and training.run_name.
void put_run_in(const std::filesystem::path& folder, train::RunConfig& config);

// The only checkpoint of a run that is being made in `folder`, at the state's step. Its settings make it a
// run (RunFolder::fill_settings), so they come last.
checkpoint::CheckpointStore save_only_checkpoint(const std::filesystem::path& folder,
                                                 std::vector<checkpoint::TensorStream> streams,
                                                 const train::SavedState& state,
                                                 const train::RunConfig& config);
// The same streams, which say what they write. progress must outlive them.
std::vector<checkpoint::TensorStream> with_progress(std::vector<checkpoint::TensorStream> streams,
                                                    Progress& progress);

// The first setting in which two models differ, but for the length of rows and what else does not count here;
// "" where there is none.
std::string model_difference(const model::ModelConfig& one, model::ModelConfig other,
                             std::initializer_list<double model::ModelConfig::*> does_not_count);

// In an exported folder: state.json of the checkpoint it was made from.
inline constexpr const char* kRunState = "moe_state.json";

}  // namespace moe::cli
