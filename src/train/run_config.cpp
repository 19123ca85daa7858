// SPDX-License-Identifier: MIT
#include "train/run_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/secrets.h"
#include "text/kept_tokenizer.h"
#include "train/layer.h"
#include "train/loss_scale.h"
#include "train/optimizer_settings.h"

namespace moe::train {
namespace {

constexpr double kMost = 1e12;  // for counts of steps: no sum or product of two of them overflows

template <class Config>
void check_limits(Config config, const std::string& section) {
  Fields fields;
  config.describe(fields);
  fields.check(section);
}

void describe_schedule(TrainingConfig& c, Fields& fields) {
  fields.add("stage", c.stage, "sft: to answer, with other defaults; pretrain: a text");
  fields.add("batch_size", c.batch_size, "rows in one micro-batch of one rank")
      .range(1, 1 << 20)
      .zero_is("auto")
      .known_as({"micro_batch_size", "per_device_train_batch_size", "local_batch_size", "device_batch_size",
                 "train_micro_batch_size_per_gpu"});
  fields
      .add("gradient_accumulation_steps", c.gradient_accumulation_steps,
           "micro-batches of each rank in one step")
      .range(1, 1 << 20)
      .known_as({"gradient_accumulation", "grad_accum_steps", "grad_accum", "accumulate_grad_batches",
                 "accumulation_steps"});
  fields
      .add("global_batch_size", c.global_batch_size,
           "rows of a step of all ranks, in place of the accumulation; 0: unused")
      .range(0, 1 << 30)
      .known_as({"total_batch_size", "train_batch_size"});
  fields.add("batch_ramp", c.batch_ramp,
             "fewer at first: [\"4:20000000\"] has 4 until 20 M tokens; needs max_tokens");
  fields.add("max_steps", c.max_steps, "steps of the whole run; 0 only saves the initial weights")
      .range(0, kMost)
      .known_as({"max_iters", "train_iters", "num_steps", "total_steps", "train_steps", "num_iterations",
                 "num_train_steps", "steps", "iterations"});
  fields.add("max_tokens", c.max_tokens, "tokens to train on, in place of max_steps; 0: max_steps counts")
      .range(0, 1e18)
      .known_as({"train_tokens", "num_tokens", "total_tokens", "token_budget"});
  fields.add("max_epochs", c.max_epochs, "ends the run after so many passes over the text; 0: no limit")
      .range(0, kMost)
      .known_as({"epochs", "num_epochs", "num_train_epochs"});
  fields.add("learning_rate", c.learning_rate, "at the peak of the schedule")
      .range(0, 10)
      .in_f32()
      .known_as({"lr", "max_lr", "peak_lr", "base_lr"});
  fields.add("min_learning_rate_ratio", c.min_learning_rate_ratio, "the last learning rate over the peak")
      .range(0, 1)
      .known_as({"min_lr", "min_lr_ratio", "min_lr_factor", "final_lr_fraction", "lr_min"});
  fields.add("lr_schedule", c.lr_schedule, "after the warm-up")
      .known_as({"lr_scheduler_type", "lr_scheduler", "scheduler", "lr_decay_style", "schedule"})
      .choice_known_as({{"warmup_stable_decay", "wsd"},
                        {"WSD", "wsd"},
                        {"trapezoidal", "wsd"},
                        {"cosine_with_warmup", "cosine"},
                        {"constant_with_warmup", "constant"}});
  fields.add("warmup_steps", c.warmup_steps, "steps of linear rise from zero")
      .range(0, kMost)
      .known_as({"warmup_iters", "lr_warmup_iters", "lr_warmup_steps", "num_warmup_steps", "warmup"});
  fields
      .add("warmup_tokens", c.warmup_tokens, "tokens of that rise, in place of warmup_steps; 0: these count")
      .range(0, 1e18);
  fields.add("decay_fraction", c.decay_fraction, "wsd: the share of max_steps that decays at the end")
      .range(0, 1);
}

void describe_run(TrainingConfig& c, Fields& fields) {
  fields.add("ema_decay", c.ema_decay, "keeps a moving average of the weights for --ema: 0.999; 0: none")
      .at_least(0)
      .less_than(1)
      .known_as({"ema", "ema_beta"});
  fields.add("ema_every", c.ema_every, "steps between its updates").range(1, kMost);
  fields.add("seed", c.seed, "of weights and data order")
      .at_least(0)
      .known_as({"random_seed", "manual_seed"});
  fields.add("on_nan", c.on_nan, "when the loss or a gradient is not finite");
  fields
      .add("spike_sigma", c.spike_sigma,
           "skip steps so many standard deviations above the last ones: 6; 0: none")
      .range(0, 1e6)
      .known_as({"sigma_factor", "skip_step_sigma"});
  fields.add("spike_window", c.spike_window, "steps that spike_sigma looks back on")
      .range(4, 1 << 16)
      .known_as({"rolling_interval_length"});
  fields.add("eval_every", c.eval_every, "steps between evaluations; 0 is never")
      .range(0, kMost)
      .known_as({"eval_interval", "eval_steps", "val_interval", "eval_freq", "evaluation_steps"});
  fields.add("eval_batches", c.eval_batches, "micro-batches of all ranks in one evaluation")
      .range(1, kMost)
      .known_as({"eval_iters", "val_steps", "eval_batch_count", "max_eval_batches"});
  fields.add("eval_tokens", c.eval_tokens, "tokens in one evaluation; 0 is as many as eval_batches have")
      .range(0, kMost);
  fields.add("tasks", c.tasks, "evaluations: TASK=PLACE, as hellaswag=val.jsonl; docs/evaluation.md");
  fields.add("tasks_every", c.tasks_every, "steps between these; 0 is only at the end").range(0, kMost);
  fields.add("tasks_items", c.tasks_items, "the first so many items of each task; 0 is all").range(0, kMost);
  fields.add("checkpoint_every", c.checkpoint_every, "steps between checkpoints; 0 is only at the end")
      .range(0, kMost)
      .known_as(
          {"save_steps", "save_every", "save_interval", "checkpoint_interval", "ckpt_interval", "save_freq"});
  fields.add("keep_checkpoints", c.keep_checkpoints, "newest checkpoints kept")
      .range(1, kMost)
      .known_as({"save_total_limit", "keep_latest_k", "keep_last", "max_checkpoints"});
  fields
      .add("checkpoint_retry_minutes", c.checkpoint_retry_minutes,
           "a save that finds no room is tried again for so long; 0: not at all")
      .range(0, kMost);
  fields.add("checkpoint_in_background", c.checkpoint_in_background,
             "write them from a copy in host memory while training goes on");
  fields.add("max_minutes", c.max_minutes, "save and stop after this long; 0 is no limit").at_least(0);
  fields.add("device", c.device, "where to compute; auto takes a GPU if there is one")
      .known_as({"accelerator", "device_type"})
      .choice_known_as({{"cuda", "gpu"}, {"cuda:0", "gpu"}, {"GPU", "gpu"}, {"CPU", "cpu"}, {"mps", "cpu"}});
  fields.add("threads", c.threads, "threads of the CPU; 0 is all cores")
      .range(0, 4096)
      .known_as({"num_threads", "n_threads", "omp_num_threads"});
  fields.add("cuda_graph", c.cuda_graph, "GPU: replay a micro-batch as one recorded graph; off to debug");
  fields.add("output_dir", c.output_dir, "folder for runs")
      .known_as({"out_dir", "save_dir", "log_dir", "dump_folder", "checkpoint_dir", "save_folder"});
  fields.add("run_name", c.run_name, "folder of this run; \"\" is config name and time")
      .known_as({"experiment_name", "exp_name", "name"});
  fields.add("sample_every", c.sample_every, "steps between text samples; 0 is never").range(0, kMost);
  fields.add("sample_prompt", c.sample_prompt, "how the samples begin");
}

void check_overlap(const RunConfig& config) {
  if (!config.distributed.overlap) return;
  const auto refuse = [](const char* expected, std::string_view found, const char* hint) {
    throw UserError("distributed.overlap", expected, std::string(found), hint);
  };
  if (config.distributed.layout != ParallelLayout::expert)
    refuse("distributed.layout expert", name_of(config.distributed.layout), "no other layout sends rows");
  if (config.training.ramp().least() < 2)
    refuse("two micro-batches in a step at least",
           config.training.gradient_accumulation_steps < 2 ? "training.gradient_accumulation_steps 1"
                                                           : "training.batch_ramp with 1",
           "half the batch_size, and gradient_accumulation_steps 2");
  if (config.distributed.balance_loss == BalanceScope::global)
    refuse("distributed.balance_loss rank or previous_step", name_of(config.distributed.balance_loss),
           "between the passes of a micro-batch the global one waits for all ranks");
}

}  // namespace

void TrainingConfig::describe(Fields& fields) {
  describe_schedule(*this, fields);
  describe_optimizer(*this, fields);
  describe_run(*this, fields);
}

void TrainingConfig::validate() const {
  check_limits(*this, "training");
  // Tokens give steps once the number of ranks is known.
  if (max_tokens == 0 && warmup_tokens == 0 && warmup_steps > max_steps)
    throw UserError("training.warmup_steps", fmt::format("at most training.max_steps ({})", max_steps),
                    std::to_string(warmup_steps), fmt::format("warmup_steps {}", max_steps / 10));
  if (max_tokens == 0 && warmup_tokens == 0 && lr_schedule == optim::Schedule::Kind::wsd &&
      static_cast<double>(warmup_steps) + decay_fraction * static_cast<double>(max_steps) >
          static_cast<double>(max_steps))
    throw UserError(
        "training.decay_fraction",
        fmt::format("warm-up and decay to fit into training.max_steps ({})", max_steps),
        fmt::format("{} steps of warm-up and {} of the steps for decay", warmup_steps, decay_fraction),
        fmt::format("warmup_steps {} or less",
                    static_cast<int64_t>((1 - decay_fraction) * static_cast<double>(max_steps))));
  if (!eight_bit(optimizer) && (embedding_8bit || router_8bit))
    throw UserError(embedding_8bit ? "training.embedding_8bit" : "training.router_8bit",
                    "training.optimizer adamw8bit or muon8bit", std::string(name_of(optimizer)),
                    "set it to false or change the optimizer");
  for (const auto& [name, type] :
       {std::pair{"master_weights", master_weights}, {"gradient_type", gradient_type}})
    if (type == StoredType::bf16 && mixed_precision != MixedPrecision::bf16 &&
        mixed_precision != MixedPrecision::fp8)
      throw UserError(fmt::format("training.{}", name),
                      "fp32 when training.mixed_precision is neither bf16 nor fp8",
                      std::string(name_of(type)), "set training.mixed_precision to bf16, or this to fp32");
  if (ema_decay > 0 && master_weights != StoredType::fp32)
    throw UserError("training.ema_decay", "training.master_weights fp32, of which an average is made",
                    std::string(name_of(master_weights)),
                    "set training.master_weights to fp32, or this to 0");
  if (batch_size == 0 && global_batch_size == 0)
    throw UserError("training.batch_size",
                    "training.global_batch_size beside it, the rows of a step of all ranks",
                    "auto and global_batch_size 0",
                    fmt::format("training.global_batch_size={} is {} micro-batches of {} rows on one rank",
                                gradient_accumulation_steps * TrainingConfig().batch_size,
                                gradient_accumulation_steps, TrainingConfig().batch_size));
  if (!batch_ramp.empty() && global_batch_size > 0)
    throw UserError("training.batch_ramp", "global_batch_size 0, since it counts micro-batches",
                    fmt::format("training.global_batch_size {}", global_batch_size),
                    "set training.batch_size and training.gradient_accumulation_steps");
  if (!ramp().constant() && max_tokens == 0)
    throw UserError("training.batch_ramp", "training.max_tokens, by which the schedules go then",
                    "max_tokens 0", "set training.max_tokens in place of max_steps");
  if (double exponent = std::log2(loss_scale); exponent != std::round(exponent))
    throw UserError("training.loss_scale", "a power of two, so that scaling loses no bit",
                    fmt::format("{}", loss_scale),
                    fmt::format("loss_scale {}", std::exp2(std::round(exponent))));
  if (run_name.find('/') != std::string::npos || run_name == "." || run_name == "..")
    throw UserError("training.run_name", "a name for one folder", fmt::format("\"{}\"", run_name),
                    "training.output_dir takes a path");
}

void LoggingConfig::describe(Fields& fields) {
  fields.add("log_every", log_every, "steps between lines of a log file")
      .range(1, kMost)
      .known_as({"log_interval", "logging_steps", "log_freq", "log_every_n_steps", "print_every"});
  fields.add("log_seconds", log_seconds, "seconds between lines of a log file, at least").at_least(0);
  fields.add("tensorboard", tensorboard, "event files in the run's folder tensorboard/");
  wandb.describe(fields);
  alerts.describe(fields);
}

void DistributedConfig::describe(Fields& fields) {
  fields.add("layout", layout, "zero1: sharded optimizer; expert: expert parallelism; auto: zero1")
      .known_as({"strategy", "parallelism", "zero_stage", "parallel_mode"})
      .choice_known_as({{"ddp", "data_parallel"},
                        {"fsdp", "zero1"},
                        {"zero2", "zero1"},
                        {"zero3", "zero1"},
                        {"ep", "expert"},
                        {"expert_parallel", "expert"}});
  fields.add("expert_parallel", expert_parallel, "expert: ranks that share all experts; 0 is all ranks")
      .range(0, 65536)
      .known_as(
          {"expert_parallel_degree", "expert_model_parallel_size", "expert_parallel_size", "ep_size", "ep"});
  fields.absent(
      {"tensor_parallel", "tensor_parallel_degree", "tensor_model_parallel_size", "tp", "pipeline_parallel",
       "pipeline_parallel_degree", "pipeline_model_parallel_size", "pp", "context_parallel", "cp"},
      "ranks share data and experts only: see distributed.layout");
  fields
      .add("expert_buffer_factor", expert_buffer_factor,
           "expert: receive buffers, as a multiple of tokens sent; 0: for all")
      .formerly({"expert_rows"})
      .range(0, 65536);
  fields.add("bucket_mb", bucket_mb, "MB of gradients that are sent at a time, at least; 0: one layer's")
      .range(0, 1e6);
  fields.add("overlap", overlap, "expert: computes one micro-batch while another one's rows travel");
  fields.add("balance_loss", balance_loss,
             "rank: each micro-batch (Tutel); global, previous_step: the whole step");
  fields.add("capacity", capacity, "of an expert, in what: rank: a micro-batch (Tutel); row: each row of it");
  fields.add("timeout_seconds", timeout_seconds, "longest wait for another rank")
      .range(1, 86400)
      .known_as({"ddp_timeout", "nccl_timeout", "distributed_timeout", "timeout"});
}

std::vector<Section> RunConfig::sections() {
  std::vector<Section> list(5);
  list[0].name = "model";
  model.describe(list[0].fields);
  list[1].name = "training";
  training.describe(list[1].fields);
  list[2].name = "data";
  data.describe(list[2].fields);
  list[3].name = "logging";
  logging.describe(list[3].fields);
  list[4].name = "distributed";
  distributed.describe(list[4].fields);
  return list;
}

void RunConfig::validate() const {
  model.validate();
  training.validate();
  data.validate();
  check_limits(logging, "logging");
  check_limits(distributed, "distributed");
  if (training.global_batch_size == 0) validate_micro_batches();
  if (training.mixed_precision == MixedPrecision::fp8) validate_fp8();
  if (model.vocab_size < vocabulary())
    throw UserError("model.vocab_size",
                    fmt::format("at least {}, the {} vocabulary{}", vocabulary(), data.tokenizer.facts().name,
                                data.has_conversations() ? " with the tokens of the template" : ""),
                    std::to_string(model.vocab_size),
                    fmt::format("{} is the next multiple of 128", (vocabulary() + 127) / 128 * 128));
  if ((training.max_tokens > 0 || training.warmup_tokens > 0) && data.packing != data::Packing::concat)
    throw UserError(training.max_tokens > 0 ? "training.max_tokens" : "training.warmup_tokens",
                    "data.packing concat, where each step has as many tokens as places",
                    std::string(name_of(data.packing)), "set training.max_steps and training.warmup_steps");
  if (training.eval_every > 0 && data.validation_source.empty() && data.validation_fraction == 0)
    throw UserError("training.eval_every", "text to evaluate on", "data.validation_fraction 0",
                    "set data.validation_source or data.validation_fraction, or eval_every 0");
}

// Hopper's products read 16 numbers of 8 bits at a time.
void RunConfig::validate_fp8() const {
  const Heads heads = model.heads();
  const auto check = [](const char* name, const std::string& what, int64_t found, int64_t of) {
    if (found % of != 0)
      throw UserError(fmt::format("model.{}", name),
                      fmt::format("{} a multiple of {} with training.mixed_precision fp8", what, of),
                      std::to_string(found), "change it, or set training.mixed_precision to bf16");
  };
  check("d_model", "the width", model.d_model, 16);
  check("head_dim", "the width of all query heads together", heads.query * heads.dim, 16);
  check("n_kv_heads", "the width of queries, gates, keys and values together", heads.packed(), 16);
  check("vocab_size", "the vocabulary", model.vocab_size, 16);
  if (model.moe_layers() > 0) check("expert_intermediate_dim", "the width", model.expert_intermediate_dim, 8);
  if (2 * training.fp8_bf16_layers > model.n_layers)
    throw UserError("training.fp8_bf16_layers",
                    fmt::format("at most {}, half of model.n_layers", model.n_layers / 2),
                    std::to_string(training.fp8_bf16_layers), "0 has all layers in fp8");
}

void RunConfig::validate_micro_batches() const {
  check_overlap(*this);
  const int64_t rows = training.batch_size * model.max_seq_len * model.top_k;
  if (rows > std::numeric_limits<int32_t>::max())
    throw UserError("training.batch_size",
                    fmt::format("batch_size x model.max_seq_len ({}) x model.top_k ({}) below 2^31",
                                model.max_seq_len, model.top_k),
                    std::to_string(training.batch_size), "use training.gradient_accumulation_steps");
}

void RunConfig::set_last_step(int64_t ranks, int64_t step, int64_t tokens) {
  const BatchRamp ramp = training.global_batch_size > 0 ? BatchRamp({}, 1) : training.ramp();
  const int64_t full = tokens_of_step(ranks), each = full / ramp.full();
  if (training.warmup_tokens > 0) training.warmup_steps = (training.warmup_tokens + full - 1) / full;
  if (training.max_tokens == 0) return;
  training.max_steps = step + ramp.steps(tokens, training.max_tokens, each);
  training.full_steps = ramp.constant() ? 0 : (training.max_tokens + full - 1) / full;
}

void RunConfig::check_trainable(bool anew) const {
  if (model.moe_layers() == 0) return;
  switch (distributed.capacity) {
    case CapacityScope::rank:
      if (training.batch_size > 0) model.check_capacity(training.batch_size * model.max_seq_len);
      break;
    case CapacityScope::row:
      model.check_capacity(model.max_seq_len);
      break;
  }
  if (anew && !model.text_trains_router())
    throw UserError("model.renormalize_top_k", "false where model.top_k is 1",
                    "true: the weight of the one chosen expert is then always 1, and no loss of the text "
                    "reaches the router",
                    "model.renormalize_top_k=false, as in Switch Transformers, or a larger top_k");
}

int64_t RunConfig::tokens_of_evaluation(int64_t ranks) const {
  if (training.eval_tokens > 0) return training.eval_tokens;
  const double rows =
      static_cast<double>(training.eval_batches) * static_cast<double>(training.batch_size * ranks);
  return static_cast<int64_t>(std::min(kMost, rows * static_cast<double>(model.max_seq_len)));
}

std::string RunConfig::yaml() const {
  RunConfig copy = *this;
  return print_config(copy.sections());
}

std::string RunConfig::json() const {
  RunConfig copy = *this;
  return without_secrets(print_config_json(copy.sections()));
}

namespace {

// recorded: the name in the run's settings. Weights mean the tokens of their own tokenizer, so another one is
// refused; the same one may be named by another place.
void take_tokenizer_of_run(const std::filesystem::path& folder, const std::string& recorded,
                           text::TokenizerChoice& choice) {
  text::TokenizerChoice own;
  own.name = recorded;
  if (text::has_kept_tokenizer(folder)) {
    text::KeptTokenizer kept = text::open_kept_tokenizer(folder);
    own.name = std::move(kept.setting);
    own.use(std::move(kept.tokenizer));
  }
  if (choice.name != own.name && choice.facts().fingerprint != own.facts().fingerprint)
    throw UserError("data.tokenizer", fmt::format("the tokenizer of the run, {}", own.facts().name),
                    fmt::format("{} (\"{}\"), another one", choice.facts().name, choice.name),
                    "leave the setting out: the weights mean the tokens of the run's own");
  choice = own;
}

// run: the folder of a run whose settings these are.
RunConfig load_over(RunConfig config, const std::vector<ConfigText>& files,
                    const std::vector<std::string>& overrides, const std::filesystem::path& run = {}) {
  if (run.empty() && asked_stage(config, files, overrides) == Stage::sft) config.set_sft_defaults();
  auto sections = config.sections();
  const auto then = [&](const auto& read) {
    const Layer layer(config.training);
    read();
    layer.settle();
  };
  for (const auto& file : files) then([&] { read_config_text(file.text, file.name, sections); });
  const std::string tokenizer = config.data.tokenizer.name;
  then([&] {
    for (const auto& assignment : overrides) apply_override(assignment, sections);
  });
  config.resolve_places();
  if (!run.empty()) take_tokenizer_of_run(run / kTokenizerFolder, tokenizer, config.data.tokenizer);
  text::TokenizerChoice& choice = config.data.tokenizer;
  if (choice.name != text::kBuiltInTokenizer && choice.open()->origin().files.empty())
    choice.name = text::kBuiltInTokenizer;  // a file of GPT-2's is the one inside the program
  config.data.row_length = config.model.max_seq_len;
  if (!run.empty() && text::has_kept_chat(run / kChatFolder)) config.data.kept_chat = run / kChatFolder;
  config.validate();
  return config;
}

}  // namespace

RunConfig RunConfig::load(const std::vector<ConfigText>& files, const std::vector<std::string>& overrides) {
  return load_over({}, files, overrides);
}

RunConfig RunConfig::load(const std::vector<std::filesystem::path>& files,
                          const std::vector<std::string>& overrides) {
  std::vector<ConfigText> texts;
  texts.reserve(files.size());
  for (const auto& file : files) texts.push_back({file.string(), read_file(file)});
  return load(texts, overrides);
}

RunConfig RunConfig::load_run(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  RunConfig before;
  before.data.rules = 1;
  return load_over(std::move(before), {{path.string(), read_file(path)}}, overrides, folder_of(path));
}

}  // namespace moe::train
