// SPDX-License-Identifier: MIT
// training.stage sft: the defaults of a run that learns to answer (docs/finetuning.md has the reasons).
#include "text/chat.h"
#include "train/run_config.h"

namespace moe::train {

// Which defaults the files and the command line ask for, before they say more.
Stage asked_stage(RunConfig config, const std::vector<ConfigText>& files,
                  const std::vector<std::string>& overrides) {
  auto sections = config.sections();
  for (const auto& file : files) read_config_text(file.text, file.name, sections);
  for (const auto& assignment : overrides) apply_override(assignment, sections);
  return config.training.stage;
}

text::TokenId RunConfig::vocabulary() const {
  return data.has_conversations() ? data.open_chat()->vocabulary() : data.tokenizer.facts().vocabulary;
}

void RunConfig::set_sft_defaults() {
  training.stage = Stage::sft;
  training.learning_rate = 2e-5;
  training.min_learning_rate_ratio = 0;
  training.lr_schedule = optim::Schedule::Kind::cosine;
  training.warmup_steps = 10;
  training.warmup_tokens = training.max_tokens = 0;
  training.batch_ramp.clear();
  training.weight_decay = 0;
  training.beta2 = 0.999;
  training.max_epochs = 3;
  model.aux_loss_weight = model.z_loss_weight = model.sequence_loss_weight = 0;
  model.router_bias = model.has_router_bias();  // which stay as they are
  model.router_bias_rate = 0;
  data.conversations = data::ConversationFormat::automatic;
  data.packing = data::Packing::best_fit;
  data.document_mask = true;
  data.filters.clear();
  data.validation_fraction = 0.02;
}

}  // namespace moe::train
