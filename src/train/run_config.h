// SPDX-License-Identifier: MIT
// All settings of a run, one struct per section of the config file. Model and data own theirs; how to train
// and what to log is declared here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/config_file.h"
#include "data/config.h"
#include "metrics/alerts.h"
#include "model/config.h"
#include "train/batch_ramp.h"
#include "train/run_choices.h"
#include "wandb/config.h"

namespace moe::train {

// In a run's folder: the files of its tokenizer (text/kept_tokenizer.h), unless that is GPT-2's.
inline constexpr const char* kTokenizerFolder = "tokenizer";
// In a run of conversations: its template (text/chat.h).
inline constexpr const char* kChatFolder = "chat";

struct TrainingConfig {
  Stage stage = Stage::pretrain;
  int64_t batch_size = 32;  // rows of model.max_seq_len tokens in one micro-batch; 0: set_micro_batches()
  int64_t gradient_accumulation_steps = 1;
  int64_t global_batch_size = 0;  // rows of a step of all ranks; 0: as these two say
  std::vector<std::string> batch_ramp =
      {};  // "4:20000000": so many until so many tokens (train/batch_ramp.h)
  int64_t max_steps = 1000;
  int64_t max_tokens = 0;  // in place of max_steps; 0: not
  int64_t max_epochs = 0;  // ends a run before max_steps; 0: not
  double learning_rate = 6e-4;
  double min_learning_rate_ratio = 0.1;
  optim::Schedule::Kind lr_schedule = optim::Schedule::Kind::cosine;
  int64_t warmup_steps = 100;
  int64_t warmup_tokens = 0;    // in place of warmup_steps; 0: not
  double decay_fraction = 0.2;  // wsd: the last share of max_steps
  double weight_decay = 0.1;
  WeightDecayMode weight_decay_mode = WeightDecayMode::plain;
  optim::DecaySchedule weight_decay_schedule = optim::DecaySchedule::constant;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double max_grad_norm = 1.0;  // 0: off
  OptimizerKind optimizer = OptimizerKind::adamw8bit;
  AdamW::Order optimizer_order = AdamW::Order::pytorch;
  // Times learning_rate, for the tensors of a role; the matrices of attention and experts have it as it is.
  double embedding_lr_scale = 1, head_lr_scale = 1, router_lr_scale = 1, norm_lr_scale = 1;
  bool embedding_decay = true, router_decay = true;  // whether weight_decay applies; never to norms
  // Muon, where the optimizer has it.
  double muon_lr_scale = 1, muon_momentum = 0.95;
  double muon_first_momentum = 0.85;
  int64_t muon_momentum_warmup_steps = 0;  // from the first to muon_momentum
  bool muon_nesterov = true;
  double muon_beta2 = 0;   // NorMuon; 0: plain Muon
  int64_t muon_steps = 5;  // of Newton-Schulz
  MuonCoefficients muon_coefficients = MuonCoefficients::polar_express;
  optim::MuonScale muon_scale = optim::MuonScale::rms;
  bool embedding_8bit = false;
  bool router_8bit = false;
  MixedPrecision mixed_precision = MixedPrecision::no;
  int64_t fp8_bf16_layers = 0;  // fp8: so many layers at each end stay bf16
  double loss_scale = 65536;    // fp16: the first
  int64_t loss_scale_growth_every = 2000;
  StoredType master_weights = StoredType::fp32;  // bf16: rounded at random, no f32 copy
  StoredType gradient_type = StoredType::fp32;
  model::Recompute recompute = model::Recompute::none;
  double ema_decay = 0;  // of a moving average of the weights; 0: there is none
  int64_t ema_every = 1;
  int64_t seed = 1234;
  OnNan on_nan = OnNan::stop;
  double spike_sigma = 0;  // skip steps whose loss or norm is so many standard deviations high; 0: none
  int64_t spike_window = 128;
  int64_t eval_every = 100;  // 0: never
  int64_t eval_batches = 8;
  int64_t eval_tokens = 0;         // 0: as eval_batches says
  std::vector<std::string> tasks;  // "hellaswag=PLACE": evaluations on the way
  int64_t tasks_every = 0;         // 0: only at the end
  int64_t tasks_items = 1000;      // of each task; 0: all
  int64_t checkpoint_every = 200;  // 0: only at the end
  int64_t keep_checkpoints = 2;
  double checkpoint_retry_minutes = 30;  // 0: a save that fails ends the run
  bool checkpoint_in_background = true;
  double max_minutes = 0.0;  // 0: no limit
  DeviceKind device = DeviceKind::automatic;
  int64_t threads = 0;     // 0: all cores
  bool cuda_graph = true;  // GPU: off to debug
  std::string output_dir = "runs";
  std::string run_name;      // empty: from the config file's name and the time
  int64_t sample_every = 0;  // 0: never
  std::string sample_prompt;

  // No setting: with batch_ramp, the run in steps of full size, by which schedules go (set_last_step()).
  int64_t full_steps = 0;

  BatchRamp ramp() const { return {batch_ramp, gradient_accumulation_steps}; }
  void describe(Fields& fields);
  void validate() const;
};

struct LoggingConfig {
  int64_t log_every = 1;
  double log_seconds = 10;
  bool tensorboard = false;
  wandb::Config wandb;
  metrics::AlertLimits alerts;

  void describe(Fields& fields);
};

// How the ranks of a run share its work; to one rank only balance_loss and capacity matter.
struct DistributedConfig {
  ParallelLayout layout = ParallelLayout::automatic;
  int64_t expert_parallel = 0;  // layout expert: ranks that have all experts between them; 0: all ranks
  double expert_buffer_factor =
      0;                  // layout expert: room for so many times the rows that a rank sends; 0: for all
  bool overlap = false;   // layout expert: two micro-batches at a time, so that one's rows travel unseen
  double bucket_mb = 25;  // MB of gradients that ranks send each other at a time, beside backward
  BalanceScope balance_loss = BalanceScope::rank;
  CapacityScope capacity = CapacityScope::rank;  // of an expert
  int64_t timeout_seconds = 50;

  void describe(Fields& fields);
};

struct RunConfig {
  model::ModelConfig model;
  TrainingConfig training;
  data::DataConfig data;
  LoggingConfig logging;
  DistributedConfig distributed;

  // The sections in file order; they point into this object.
  std::vector<Section> sections();
  // Each setting within its limits and no two that contradict each other; else a UserError. Where
  // training.global_batch_size leaves the micro-batches open, without what depends on them.
  void validate() const;
  void validate_micro_batches() const;
  void validate_fp8() const;
  // What training is refused for, though evaluation and reports of an older run are not. anew: from the first
  // step on; a run that has begun so may go on.
  void check_trainable(bool anew) const;
  // The last step, in training.max_steps, where training.max_tokens gives it, and the warm-up's, where
  // training.warmup_tokens does: all rows are full (data.packing concat), so a step has as many tokens as
  // places. From `step`, where so many tokens were read.
  void set_last_step(int64_t ranks, int64_t step = 0, int64_t tokens = 0);
  // Of all ranks, where every row is full.
  int64_t tokens_of_step(int64_t ranks) const {
    return model.max_seq_len * (training.global_batch_size > 0
                                    ? training.global_batch_size
                                    : training.batch_size * training.gradient_accumulation_steps * ranks);
  }
  // What training.eval_tokens says, or else training.eval_batches for this number of ranks.
  int64_t tokens_of_evaluation(int64_t ranks) const;
  // Of the tokenizer. The model's rows beyond it (model.vocab_size) are padding.
  // That of the tokenizer, and what a template adds to it.
  text::TokenId vocabulary() const;
  // The values of training.stage sft, over what is there.
  void set_sft_defaults();
  std::string yaml() const;  // the resolved file, with all secrets of its addresses
  // For whoever looks on, and to compare: addresses without secrets (base/secrets.h).
  std::string json() const;

  // Makes each local place absolute, from the folder that the program was started in: a run goes on from any
  // other.
  void resolve_places();

  // Defaults, then the files in order, then "section.key=value" overrides in order; places
  // resolved; validated.
  static RunConfig load(const std::vector<ConfigText>& files, const std::vector<std::string>& overrides = {});
  static RunConfig load(const std::vector<std::filesystem::path>& files,
                        const std::vector<std::string>& overrides = {});
  static RunConfig load(const std::filesystem::path& file, const std::vector<std::string>& overrides = {}) {
    return load(std::vector{file}, overrides);
  }
  // The settings of a run, from its folder. They name all settings of the version that wrote them; what they
  // leave out is as that version did it. The tokenizer is the run's copy (train/run_folder.h), wherever
  // data.tokenizer was; a UserError where an override names another one.
  static RunConfig load_run(const std::filesystem::path& path,
                            const std::vector<std::string>& overrides = {});
};

// Which defaults files and the command line ask for, before they say more.
Stage asked_stage(RunConfig config, const std::vector<ConfigText>& files,
                  const std::vector<std::string>& overrides);

}  // namespace moe::train
