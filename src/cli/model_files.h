// SPDX-License-Identifier: MIT
// A trained model from disk, for the commands that read one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "checkpoint/checkpoint.h"
#include "model/weights.h"
#include "train/run_config.h"

namespace moe::cli {

struct TrainedModel {
  RunConfig config;
  Checkpoint checkpoint;
};

// path: a run, a folder of runs, or one checkpoint of a run. overrides apply to the run's settings.
TrainedModel open_model(const std::string& path, const std::vector<std::string>& overrides);

// Fills weights laid out on `arena` from the checkpoint, compute copies included.
void load_weights(Weights& weights, const Checkpoint& checkpoint, Backend& backend);

}  // namespace moe::cli
