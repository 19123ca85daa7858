// SPDX-License-Identifier: MIT
// moe upcycle: a dense model as a Mixture of Experts, to train on. It shows that nothing was lost: both
// models' logits for the same tokens.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/random.h"
#include "base/terminal.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/model_files.h"
#include "cli/precision.h"
#include "cli/run_chat.h"
#include "interop/family.h"
#include "interop/hf_config.h"
#include "interop/imported_model.h"
#include "interop/staged_folder.h"
#include "interop/upcycle.h"
#include "tensor/host_floats.h"
#include "train/run_folder.h"
#include "train/state.h"

namespace moe::cli {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kProofTokens = 64;
// Of the norm, in f32: the experts' products are summed in another order than the dense ones.
constexpr double kSame = 1e-5;

struct UpcycleOptions {
  std::string dense, output;
  interop::Upcycling how;
  std::vector<std::string> overrides;
};

// The weights, in whatever type the checkpoint has them, as f32.
void load_widened(model::Weights& weights, const checkpoint::Safetensors& file, backend::Backend& backend) {
  std::vector<float> values;
  for (const auto& [name, tensor] : weights.named()) {
    const checkpoint::Safetensors::Entry* const entry = file.find(name);
    CHECK(entry != nullptr, name);
    values.resize(static_cast<size_t>(tensor.numel()));
    file.read_floats(*entry, 0, values);
    upload_floats(tensor, values, *backend.device);
  }
  model::cast_weights(weights, *backend.ops);
}

// In f32, so that what differs is the models.
std::vector<float> logits_of(const TrainedModel& trained, std::span<const int32_t> ids) {
  train::RunConfig config = trained.config;
  config.training.mixed_precision = train::MixedPrecision::no;
  backend::Backend backend = backend::make_backend(
      config.training.device, static_cast<int>(config.training.threads), train::arithmetic(config.training));
  const auto T = std::ssize(ids);
  const model::MicroBatch shape{
      .B = 1, .T = T, .type = DType::f32, .vocabulary = config.vocabulary(), .head_rows = T};
  const auto [arena, placed] =
      train::place<PlacedModel>(*backend.device, config.model, model::WeightTypes{}, shape);
  load_widened(placed->weights, trained.checkpoint.file(checkpoint::kModelFile), backend);
  placed->transformer.prepare(*backend.device);
  const std::vector<int32_t> none(ids.size(), -1), first(ids.size(), 0);
  placed->transformer.upload(*backend.device, ids.data(), none.data(), first.data());
  placed->transformer.forward(*backend.ops);
  return host_floats(placed->transformer.logits(0, T, *backend.ops), *backend.device);
}

// The norm of the difference over the norm, for T tokens drawn at random.
double difference(const TrainedModel& dense, const TrainedModel& result, int64_t T) {
  const Random random(1, "upcycle/proof");
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < T; ++i)
    ids.push_back(static_cast<int32_t>(
        random.below(static_cast<uint64_t>(i), static_cast<uint64_t>(dense.config.vocabulary()))));
  const std::vector<float> wanted = logits_of(dense, ids), found = logits_of(result, ids);
  double squares = 0, differences = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    squares += static_cast<double>(wanted[i]) * wanted[i];
    differences += std::pow(static_cast<double>(found[i]) - wanted[i], 2);
  }
  return std::sqrt(differences / squares);
}

// Settings of the command line may say how the result is trained, not what it is.
void check_overrides(const train::RunConfig& dense, const model::ModelConfig& made,
                     const train::RunConfig& config) {
  const std::string hint = "leave it out: upcycling makes the model of the dense one";
  const std::string difference =
      model_difference(made, config.model,
                       {&model::ModelConfig::capacity_factor, &model::ModelConfig::aux_loss_weight,
                        &model::ModelConfig::z_loss_weight, &model::ModelConfig::sequence_loss_weight});
  if (!difference.empty())
    throw UserError("command line", "the shape that upcycling gives", difference, hint);
  const text::TokenizerFacts ours = dense.data.tokenizer.facts(), theirs = config.data.tokenizer.facts();
  if (ours.fingerprint != theirs.fingerprint)
    throw UserError("command line: data.tokenizer", std::string(ours.name), std::string(theirs.name), hint);
  if (dense.training.master_weights != config.training.master_weights)
    throw UserError("command line: training.master_weights",
                    std::string(name_of(dense.training.master_weights)),
                    std::string(name_of(config.training.master_weights)),
                    "the result has the types of the dense run: leave it out");
}

int upcycle(const UpcycleOptions& options) {
  Terminal terminal;
  const TrainedModel dense = open_model(options.dense, {});
  const model::ModelConfig made = interop::upcycled_config(dense.config.model, options.how);
  train::RunConfig config = dense.config;
  config.model = made;
  auto sections = config.sections();
  for (const std::string& assignment : options.overrides) apply_override(assignment, sections);
  settle_precision(config);
  put_run_in(options.output, config);
  config.resolve_places();
  config.validate();
  check_overrides(dense.config, made, config);
  interop::StagedFolder folder(options.output);
  auto streams =
      interop::upcycled_streams(dense.checkpoint.file(checkpoint::kModelFile), config.model, options.how);
  uint64_t bytes = 0;
  for (const auto& stream : streams) bytes += stream.bytes();
  Progress progress(terminal, "copying experts", bytes, "bytes");
  const checkpoint::CheckpointStore store =
      save_only_checkpoint(folder.path(), with_progress(std::move(streams), progress), {}, config);
  progress.done();
  terminal.status("comparing logits");
  const int64_t T = std::min(kProofTokens, dense.config.model.max_seq_len);
  const double apart = difference(dense, {config, store.open_latest()}, T);
  terminal.clear_status();
  if (!std::isfinite(apart))
    throw UserError("--noise", "logits that are numbers", fmt::format("{}", apart),
                    "less noise: 0.01 is a hundredth of the weights");
  if (options.how.noise == 0 && !(apart < kSame))
    throw UserError(
        options.dense, fmt::format("logits as those of the dense model, to {} of their norm", kSame),
        fmt::format("{:.1e}", apart), "nothing was written. This is a fault of moe: please report it");
  write_file_atomically(
      folder.path() / "upcycle.json",
      OrderedJson{{"dense", fs::absolute(dense.checkpoint.folder()).lexically_normal().string()},
                  {"experts", options.how.experts},
                  {"noise", options.how.noise},
                  {"logits_differ_by", apart}}
              .dump(1) +
          "\n");
  if (const interop::Family* family = interop::fitting_family(config.model))  // for `moe export`
    interop::keep_imported_of(folder.path(), run_of(dense.checkpoint), *family);
  keep_chat_of(folder.path(), dense);
  train::RunFolder::fill_settings(folder.path(), config);  // they make it a run
  folder.commit();
  terminal.line(fmt::format(
      "{0}: {1} experts a layer from {2}; logits of {3} tokens differ by {4:.1e} of their norm\n"
      "  moe eval {0} --source TEXT\n  moe train --resume {0} data.source=TEXT training.max_steps=1000",
      options.output, config.model.num_experts, options.dense, T, apart));
  return 0;
}

}  // namespace

void add_upcycle(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<UpcycleOptions>();
  CLI::App* command = app.add_subcommand("upcycle", "Make a Mixture of Experts of a dense model");
  command->add_option("dense", options->dense, "A run of a dense model, or a checkpoint of one")
      ->required()
      ->type_name("RUN");
  command->add_option("--experts", options->how.experts, "Experts in each layer")->capture_default_str();
  command->add_option("--top-k", options->how.top_k, "Experts that a token goes to")->capture_default_str();
  command->add_option("--noise", options->how.noise, "Noise on experts, over the weights' deviation")
      ->capture_default_str();
  command->add_option("--seed", options->how.seed, "Of routers and noise")->capture_default_str();
  command->add_option("-o,--output", options->output, "Folder for the run that is made")
      ->required()
      ->type_name("RUN");
  add_settings(*command, options->overrides, "Settings of the run");
  command->footer(
      "Examples:\n"
      "  moe import Qwen3-0.6B --output runs/dense\n"
      "  moe upcycle runs/dense --experts 8 --top-k 2 -o runs/upcycled training.learning_rate=1e-4\n"
      "Each expert begins as the layer's SwiGLU and routers at random; weights of the chosen experts sum to "
      "one, so the\n"
      "logits are the dense model's, which is checked before anything is kept (arXiv 2212.05055). Equal "
      "experts "
      "part only\n"
      "through their tokens; --noise 0.01 helps them, and changes the logits.");
  command->callback([options, &chosen] { chosen = [options] { return upcycle(*options); }; });
}

}  // namespace moe::cli
