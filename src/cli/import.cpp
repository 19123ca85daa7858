// SPDX-License-Identifier: MIT
// moe import: a folder of the Hugging Face format as a run, to evaluate it, write with it, or train it
// further.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/terminal.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/hub_model.h"
#include "cli/model_files.h"
#include "cli/precision.h"
#include "cli/verify.h"
#include "hub/address.h"
#include "interop/export_weights.h"
#include "interop/hf_config.h"
#include "interop/imported_model.h"
#include "interop/staged_folder.h"
#include "interop/tensor_map.h"
#include "interop/tokenizer_files.h"
#include "text/chat.h"
#include "text/load_tokenizer.h"
#include "text/open_tokenizer.h"
#include "text/tokenizer.h"
#include "train/resume.h"
#include "train/run_folder.h"
#include "train/state.h"

namespace moe::cli {
namespace {

namespace fs = std::filesystem;

struct ImportOptions {
  std::string folder, output;
  bool verify = false;
  std::vector<std::string> overrides;
};

// What must be as config.json says, whatever the settings are.
void check_same_model(const model::ModelConfig& wanted, const model::ModelConfig& found,
                      const std::string& where) {
  const auto check = [&](const char* name, auto member) {
    const auto needed = std::invoke(member, wanted), given = std::invoke(member, found);
    if (needed != given)
      throw UserError(where, fmt::format("model.{} {}, as config.json says", name, needed),
                      fmt::format("{}", given), "leave the shape of the model as it is");
  };
  check("d_model", &model::ModelConfig::d_model);
  check("n_layers", &model::ModelConfig::n_layers);
  check("n_heads", &model::ModelConfig::n_heads);
  check("n_kv_heads", &model::ModelConfig::n_kv_heads);
  check("head_dim", [](const model::ModelConfig& model) { return model.heads().dim; });
  check("attention_gate", &model::ModelConfig::attention_gate);
  check("qk_norm", [](const model::ModelConfig& model) { return name_of(model.qk_norm); });
  check("attention_bias", &model::ModelConfig::attention_bias);
  check("tie_embeddings", &model::ModelConfig::tie_embeddings);
  check("num_experts", &model::ModelConfig::num_experts);
  check("top_k", &model::ModelConfig::top_k);
  check("expert_intermediate_dim", &model::ModelConfig::expert_intermediate_dim);
  check("shared_expert_dim", &model::ModelConfig::shared_expert_dim);
  check("first_dense_layers", &model::ModelConfig::first_dense_layers);
  check("dense_intermediate_dim", &model::ModelConfig::dense_width);
  check("vocab_size", &model::ModelConfig::vocab_size);
  check("rope_theta", &model::ModelConfig::rope_theta);
  check("partial_rotary_factor", &model::ModelConfig::partial_rotary_factor);
  check("rope_scaling", [](const model::ModelConfig& model) { return name_of(model.rope_scaling); });
  check("rope_scaling_factor", &model::ModelConfig::rope_scaling_factor);
  if (rope_frequencies(wanted.rope()) != rope_frequencies(found.rope()) ||
      rope_scale(wanted.rope()) != rope_scale(found.rope()))
    throw UserError(where, "model.rope_* as config.json says", "other rotary frequencies",
                    "leave the shape of the model as it is");
  const int64_t T = std::min(wanted.max_seq_len, found.max_seq_len);
  for (int64_t layer = 0; layer < wanted.n_layers; ++layer)
    check("attention_window", [layer, T](const model::ModelConfig& model) {
      const int64_t window = model.window_of(layer);
      return window < T ? window : 0;  // the whole row
    });
  check("norm_eps", &model::ModelConfig::norm_eps);
  check("renormalize_top_k", &model::ModelConfig::renormalize_top_k);
  check("router_score", [](const model::ModelConfig& model) { return name_of(model.router_score); });
  check("router_scale", &model::ModelConfig::router_scale);
  check("router_bias", &model::ModelConfig::has_router_bias);
  check("embedding_multiplier", &model::ModelConfig::embedding_multiplier);
  check("residual_multiplier", &model::ModelConfig::residual_multiplier);
  check("attention_multiplier", [](const model::ModelConfig& model) { return model.rope().score_scale; });
  check("logits_scaling", &model::ModelConfig::logits_scaling);
}

struct Start {
  const interop::Family* family;
  fs::path output;
  train::RunConfig config;
  std::string own_tokenizer;               // its fingerprint, unless the command line named another place
  bool guessed_tokenizer = false;          // neither the folder nor the command line says which
  std::shared_ptr<const text::Chat> chat;  // how the model talks; null: not known
  std::string no_chat;                     // why its template cannot be used
  train::SavedState state;                 // step 0 and no text, unless the folder came from one of our runs
};

// USER/NAME, as other programs have it; here it is a path.
bool looks_like_hub(const std::string& place) {
  try {
    return !fs::exists(place) && hub::Address::parse("hf://" + place).path.empty();
  } catch (const UserError&) {
    return false;
  }
}

// own: tokenizer_in() of the folder. Tokens that an export has added for its chat template are not the
// tokenizer's.
void use_tokenizer(const fs::path& folder, const std::string& own, text::TokenizerChoice& choice) {
  const std::vector<std::string> added =
      text::has_kept_chat(folder) ? text::kept_chat_tokens(folder) : std::vector<std::string>();
  choice.name = own;
  if (added.empty() || own == text::kBuiltInTokenizer) return;
  std::shared_ptr<const text::Tokenizer> tokenizer = text::load_tokenizer(own, "", added);
  if (tokenizer->origin().files.empty())
    choice.name = text::kBuiltInTokenizer;
  else
    choice.use(std::move(tokenizer));
}

// The template of an export of ours, or of others' files.
void find_chat(const fs::path& folder, Start& start) {
  const data::DataConfig& data = start.config.data;
  const auto tokenizer = data.tokenizer.open();
  try {
    if (text::has_kept_chat(folder)) {
      start.chat = text::open_kept_chat(folder, tokenizer);
      start.config.data.kept_chat = folder;
    } else if (text::ChatTemplate::is_in(folder)) {
      start.chat = text::open_chat(folder.string(), folder.string(), tokenizer);
    }
  } catch (const UserError& error) {
    start.no_chat = error.what();
  }
}

Start starting_point(const ImportOptions& options) {
  const fs::path folder = options.folder, file = folder / "config.json", saved = folder / kRunState;
  if (!fs::exists(file))
    throw UserError(file.string(), "the settings of a model",
                    fs::exists(folder) ? "no such file" : "no such folder",
                    looks_like_hub(options.folder)
                        ? fmt::format("hf://{} names a model of the hub", options.folder)
                        : "give a folder that `moe export` or save_pretrained wrote, or hf://USER/NAME");
  const auto [family, model] = interop::read_hf_model(file.string(), read_file(file));
  Start start{.family = family,
              .output = options.output,
              .config = {},
              .own_tokenizer = {},
              .chat = {},
              .no_chat = {},
              .state = {}};
  auto sections = start.config.sections();
  if (fs::exists(saved)) {
    try {
      start.state = train::read_state(saved.string(), read_file(saved));
    } catch (const UserError& error) {
      throw UserError(error.where, error.expected, error.found,
                      "copy the file again, or remove it: without it the model is imported as a new run");
    }
    read_config_text(start.state.config, saved.string(), sections);
  } else {
    start.config.model = model;
  }
  // The folder's own, wherever the run had it from; an override may name another place.
  const bool told = std::ranges::any_of(options.overrides, [](const std::string& assignment) {
    return assignment.starts_with("data.tokenizer=");
  });
  const std::string own = told ? "" : interop::tokenizer_in(folder);
  if (!own.empty()) use_tokenizer(folder, own, start.config.data.tokenizer);
  start.guessed_tokenizer = own.empty() && !fs::exists(saved) && !told;
  for (const std::string& assignment : options.overrides) apply_override(assignment, sections);
  if (options.output.empty())
    start.output = fs::path("runs") / (fs::absolute(folder) / "").lexically_normal().parent_path().filename();
  put_run_in(start.output, start.config);
  start.config.resolve_places();
  settle_precision(start.config);
  start.config.validate();
  if (!told) start.own_tokenizer = text::fingerprint_text(start.config.data.tokenizer.facts().fingerprint);
  if (fs::exists(saved))
    train::expect_tokenizer(saved.string(), start.state, start.config.data.tokenizer.facts());
  check_same_model(model, start.config.model, fs::exists(saved) ? saved.string() : "command line");
  if (!told) find_chat(folder, start);  // a template is of the tokenizer beside it
  return start;
}

// The run's tensors against the files; logits of a prompt from the run and by a second way.
void verify(const TrainedModel& model, const std::string& folder, Terminal& terminal) {
  verify_tensors_of(model, folder, interop::Direction::imported, terminal);
  const Prompts prompts = prompts_of({}, *model.config.data.tokenizer.open());
  std::string words;
  if (!PromptModel::fits(model.config, prompts, words))
    return terminal.line("          logits are not compared: the model does not fit into memory, " + words);
  PromptModel computed(model.config, prompts);
  load_weights(computed.weights(), model, computed.backend());
  verify_logits(computed.logits(), prompts, model.config, folder, terminal);
}

// config.json first, the weights after all that may be refused without them.
int run(ImportOptions options) {
  Terminal terminal;
  const std::string place = options.folder;
  std::optional<HubModel> remote;
  if (hub::Address::is_hub(place)) {
    remote.emplace(place, terminal);
    options.folder = remote->folder().string();
    if (options.output.empty()) options.output = (fs::path("runs") / remote->name()).string();
    remote->fetch_small();
  }
  const Start start = starting_point(options);
  interop::StagedFolder run(start.output);
  if (remote) {
    remote->check_index(*start.family, start.config.model);
    remote->fetch_weights();
  }
  const DType master = train::weight_types(start.config.training).master;
  const interop::ImportedWeights weights(options.folder, start.config.model, master, *start.family);
  uint64_t bytes = 0;
  auto streams = weights.streams();
  for (const auto& stream : streams) bytes += stream.bytes();
  Progress progress(terminal, "importing", bytes, "bytes");
  const checkpoint::CheckpointStore store = save_only_checkpoint(
      run.path(), with_progress(std::move(streams), progress), start.state, start.config);
  progress.done();
  interop::keep_imported(run.path(), options.folder, *start.family, weights.types(), start.own_tokenizer);
  if (start.chat) text::keep_chat(run.path() / train::kChatFolder, *start.chat);
  if (options.verify) verify({start.config, store.open_latest()}, options.folder, terminal);
  train::RunFolder::fill_settings(run.path(), start.config);  // they make it a run
  run.commit();
  if (!weights.left_out().empty())
    terminal.warning(fmt::format("{}: left out {}, which predicts further tokens", options.folder,
                                 fmt::join(weights.left_out(), ", ")));
  if (!start.no_chat.empty())
    terminal.warning(
        fmt::format("the model's chat template is kept, but cannot be used here: {}", start.no_chat));
  if (start.guessed_tokenizer)
    terminal.warning(
        fmt::format("{}: no tokenizer that moe reads is there, so GPT-2's is the run's. If it is another "
                    "one, import again with data.tokenizer=PATH",
                    place));
  const std::string path = start.output.string();
  terminal.line(fmt::format(
      "{}: {}, step {}, weights {} in {}", path, start.family->name, start.state.step,
      master == DType::f32 ? "bit for bit as" : "in bf16 (training.master_weights) of those", place));
  terminal.line(
      fmt::format("  moe eval {0} --source TEXT\n  moe {2}\n"
                  "  moe train --resume {0}{1}   (the optimizer starts anew)",
                  path, start.state.source.empty() ? " data.source=TEXT" : "",
                  start.chat ? "chat " + path : fmt::format("generate {} --prompt \"...\"", path)));
  return 0;
}

}  // namespace

void add_import(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<ImportOptions>();
  CLI::App* command = app.add_subcommand("import", "Make a run of an exported model, to go on from there");
  command
      ->add_option("model", options->folder,
                   "A folder of `moe export` or save_pretrained, or a model of the hub")
      ->required()
      ->type_name("DIR|hf://USER/NAME");
  command
      ->add_option("-o,--output", options->output,
                   "Folder for the run; default: runs/ and the name of the model")
      ->type_name("RUN");
  command->add_flag("--verify", options->verify,
                    "Read all tensors back, and compare logits of a prompt by two ways");
  add_settings(*command, options->overrides, "Settings of the run");
  command->footer(
      "Examples:\n"
      "  moe import exported/ --output runs/again\n"
      "  moe import downloaded/ --output runs/new data.source=my_texts/ training.max_steps=2000\n"
      "  moe import downloaded/ --verify\n"
      "  moe import hf://Qwen/Qwen3-30B-A3B@main --output runs/qwen\n"
      "Files of the hub stay in its cache (HF_HUB_CACHE); an interrupted fetch goes on where it was, and\n"
      "with HF_HUB_OFFLINE=1 nothing but the cache is asked.\n"
      "Families: " +
      interop::family_names() +
      " (docs/interop.md).\n"
      "With the moe_state.json of an export the run goes on at the same step and place in the text, with the "
      "same\n"
      "settings; without it, at step 0 of a new run. Moments of the optimizer are not exported: they start "
      "at zero.");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace moe::cli
