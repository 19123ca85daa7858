// SPDX-License-Identifier: MIT
// moe merge: the weighted mean of the weights of checkpoints, as a run that every command takes.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/parse_number.h"
#include "base/progress.h"
#include "base/terminal.h"
#include "checkpoint/mean.h"
#include "cli/commands.h"
#include "cli/model_files.h"
#include "cli/run_chat.h"
#include "interop/imported_model.h"
#include "interop/staged_folder.h"
#include "train/resume.h"
#include "train/run_folder.h"

namespace moe::cli {
namespace {

namespace fs = std::filesystem;

struct MergeOptions {
  std::vector<std::string> checkpoints;
  std::string weights, output;
};

std::vector<double> parse_weights(const MergeOptions& options) {
  const size_t n = options.checkpoints.size();
  if (options.weights.empty()) return std::vector<double>(n, 1.0);
  const auto refuse = [](const std::string& expected, const std::string& found) {
    throw UserError("--weights", expected, found);
  };
  std::vector<double> weights;
  double sum = 0;
  for (size_t begin = 0; begin <= options.weights.size();) {
    const size_t end = std::min(options.weights.find(',', begin), options.weights.size());
    const std::string word = options.weights.substr(begin, end - begin);
    const auto weight = parse_number<double>(word);
    if (!weight || !std::isfinite(*weight))
      refuse("numbers with commas between", fmt::format("\"{}\"", word));
    weights.push_back(*weight);
    sum += *weight;
    begin = end + 1;
  }
  if (weights.size() != n)
    refuse(fmt::format("{}, one for each checkpoint", n), std::to_string(weights.size()));
  if (!(sum > 0) || !std::isfinite(sum)) refuse("weights with a positive sum", fmt::format("{}", sum));
  return weights;
}

// What a forward pass depends on. Shapes would not tell all of it.
void expect_same_model(const TrainedModel& first, const TrainedModel& other) {
  const std::string where = other.checkpoint.folder().string();
  const std::string hint = "only checkpoints of one model can be merged";
  const text::TokenizerFacts ours = first.config.data.tokenizer.facts(),
                             theirs = other.config.data.tokenizer.facts();
  if (ours.fingerprint != theirs.fingerprint)
    throw UserError(where, fmt::format("the tokenizer {}", ours.name), std::string(theirs.name), hint);
  const std::string difference =
      model_difference(first.config.model, other.config.model,
                       {&model::ModelConfig::capacity_factor, &model::ModelConfig::aux_loss_weight,
                        &model::ModelConfig::z_loss_weight, &model::ModelConfig::init_std});
  if (!difference.empty())
    throw UserError(where, "the model of " + first.checkpoint.folder().string(), difference, hint);
}

// Whose settings, step and place in the text the mean goes on with: the one that has seen most.
const TrainedModel& furthest(const std::vector<TrainedModel>& models) {
  return *std::max_element(models.begin(), models.end(), [](const TrainedModel& a, const TrainedModel& b) {
    return a.checkpoint.step() < b.checkpoint.step();
  });
}

std::vector<checkpoint::TensorStream> streams_of(const std::vector<TrainedModel>& models,
                                                 const std::vector<double>& weights, Progress& progress) {
  std::vector<checkpoint::MeanPart> parts;
  for (size_t i = 0; i < models.size(); ++i)
    parts.push_back({.where = (models[i].checkpoint.folder() / checkpoint::kModelFile).string(),
                     .file = &models[i].checkpoint.file(checkpoint::kModelFile),
                     .weight = weights[i]});
  return with_progress(checkpoint::mean_streams(parts), progress);
}

std::string origin_json(const std::vector<TrainedModel>& models, const std::vector<double>& weights) {
  OrderedJson json = OrderedJson::array();
  for (size_t i = 0; i < models.size(); ++i)
    json.push_back({{"checkpoint", fs::absolute(models[i].checkpoint.folder()).lexically_normal().string()},
                    {"step", models[i].checkpoint.step()},
                    {"weight", weights[i]}});
  return OrderedJson{{"merged", json}}.dump(1) + "\n";
}

int merge(const MergeOptions& options) {
  if (options.checkpoints.size() < 2)
    throw UserError("moe merge", "two checkpoints at least", "one", "the mean of one is that one");
  const std::vector<double> weights = parse_weights(options);
  Terminal terminal;
  interop::StagedFolder folder(options.output);
  std::vector<TrainedModel> models;
  for (const std::string& path : options.checkpoints) {
    terminal.status("reading " + path);
    models.push_back(open_model(path, {}));
    expect_same_model(models.front(), models.back());
  }
  terminal.clear_status();
  const TrainedModel& last = furthest(models);
  train::RunConfig config = last.config;
  put_run_in(options.output, config);
  config.resolve_places();
  const train::SavedState state =
      train::read_state((last.checkpoint.folder() / "state.json").string(), last.checkpoint.state_json());
  uint64_t bytes = 0;
  for (const auto& entry : last.checkpoint.file(checkpoint::kModelFile).entries())
    bytes += entry.end - entry.begin;
  Progress progress(terminal, "merging", bytes, "bytes");
  save_only_checkpoint(folder.path(), streams_of(models, weights, progress), state, config);
  write_file_atomically(folder.path() / "merge.json", origin_json(models, weights));
  if (const auto imported = interop::read_imported(run_of(last.checkpoint)))
    if (const interop::Family* family = interop::find_family(imported->family))
      interop::keep_imported_of(folder.path(), run_of(last.checkpoint), *family);
  keep_chat_of(folder.path(), last);
  train::RunFolder::fill_settings(folder.path(), config);  // they make it a run
  folder.commit();
  progress.done();
  terminal.line(fmt::format(
      "{0}: the mean of {1} checkpoints; settings, step ({2}) and place in the text are those of {3}\n"
      "  moe eval {0}\n  moe train --resume {0} training.max_steps={4}   (the optimizer starts anew)",
      options.output, models.size(), state.step, last.checkpoint.folder().string(),
      std::max(config.training.max_steps, state.step) + 1000));
  return 0;
}

}  // namespace

void add_merge(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<MergeOptions>();
  CLI::App* command = app.add_subcommand("merge", "The weighted mean of checkpoints of one model");
  command->add_option("checkpoints", options->checkpoints, "Runs, or checkpoints of runs; two at least")
      ->required()
      ->type_name("CKPT");
  command->add_option("--weights", options->weights, "One for each, with commas between; default: equal")
      ->type_name("A,B,...");
  command->add_option("-o,--output", options->output, "Folder for the run that is made")
      ->required()
      ->type_name("RUN");
  command->footer(
      "Examples:\n"
      "  moe merge runs/a/checkpoints/step-00000800 runs/a/checkpoints/step-00001000 -o runs/merged\n"
      "  moe merge runs/seed1 runs/seed2 runs/seed3 --weights 2,1,1 -o runs/soup\n"
      "The mean is computed in f64 and rounded once. The last checkpoints of a run at a constant rate, "
      "merged, "
      "stand for a\n"
      "decay of the rate (WSM, arXiv 2507.17634); runs that began from the same weights make a model soup "
      "(arXiv\n"
      "2203.05482). Moments of the optimizer are not merged: a run that goes on from the mean starts them at "
      "zero.");
  command->callback([options, &chosen] { chosen = [options] { return merge(*options); }; });
}

}  // namespace moe::cli
