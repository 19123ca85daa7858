// SPDX-License-Identifier: MIT
#include "train/optimizer_settings.h"

#include "train/loss_scale.h"

namespace moe::train {
namespace {

constexpr double kMost = 1e12;  // steps

void describe_muon(TrainingConfig& c, Fields& fields) {
  fields.add("muon_lr_scale", c.muon_lr_scale, "times learning_rate: the matrices that Muon updates")
      .range(0, 1e4)
      .in_f32();
  fields.add("muon_momentum", c.muon_momentum, "Muon, share of the average that is kept").range(0, 0.99999);
  fields.add("muon_first_momentum", c.muon_first_momentum, "Muon, at the first of muon_momentum_warmup_steps")
      .range(0, 0.99999);
  fields.add("muon_momentum_warmup_steps", c.muon_momentum_warmup_steps, "Muon, until muon_momentum")
      .at_least(0);
  fields.add("muon_nesterov", c.muon_nesterov, "Muon looks one step ahead").known_as({"nesterov"});
  fields.add("muon_beta2", c.muon_beta2, "NorMuon's second moment of rows: 0.95; 0: plain Muon")
      .at_least(0)
      .less_than(1)
      .in_f32()
      .known_as({"normuon_beta2"});
  fields.add("muon_steps", c.muon_steps, "of Muon's Newton-Schulz iteration")
      .range(1, NewtonSchulzSteps::kMost)
      .known_as({"ns_steps", "newton_schulz_steps"});
  fields.add("muon_coefficients", c.muon_coefficients, "of that iteration");
  fields.add("muon_scale", c.muon_scale, "rms: elements move as with AdamW; spectral: as torch's original");
}

void describe_moments(TrainingConfig& c, Fields& fields) {
  fields.add("weight_decay", c.weight_decay, "AdamW, on matrices")
      .at_least(0)
      .in_f32()
      .known_as({"wd", "decay"});
  fields.add("weight_decay_mode", c.weight_decay_mode, "cautious: only where the step shrinks the weight");
  fields
      .add("weight_decay_schedule", c.weight_decay_schedule,
           "with_lr: falls as the rate does; cosine_to_zero: to 0 at max_steps")
      .known_as({"wd_schedule"});
  fields.add("beta1", c.beta1, "AdamW, first moment")
      .at_least(0)
      .less_than(1)
      .in_f32()
      .known_as({"adam_beta1"});
  fields.add("beta2", c.beta2, "AdamW, second moment")
      .at_least(0)
      .less_than(1)
      .in_f32()
      .known_as({"adam_beta2"});
  fields.add("epsilon", c.epsilon, "AdamW")
      .more_than(0)
      .in_f32()
      .known_as({"adam_epsilon", "adam_eps", "eps"});
  fields.absent({"betas"}, "they are training.beta1 and training.beta2 here");
}

void describe_roles(TrainingConfig& c, Fields& fields) {
  const auto add_scale = [&](const char* name, double& scale, const char* help) {
    fields.add(name, scale, help).range(0, 1e4).in_f32();
  };
  add_scale("embedding_lr_scale", c.embedding_lr_scale,
            "times learning_rate: the embedding (a tied head is it)");
  add_scale("head_lr_scale", c.head_lr_scale, "times learning_rate: the LM head, where it is not tied");
  add_scale("router_lr_scale", c.router_lr_scale, "times learning_rate: the routers");
  add_scale("norm_lr_scale", c.norm_lr_scale, "times learning_rate: the weights of norms");
  fields.add("embedding_decay", c.embedding_decay, "weight_decay applies to the embedding");
  fields.add("router_decay", c.router_decay, "weight_decay applies to the routers");
}

}  // namespace

void describe_optimizer(TrainingConfig& c, Fields& fields) {
  describe_moments(c, fields);
  fields.add("max_grad_norm", c.max_grad_norm, "gradients are scaled down to this norm; 0 is off")
      .at_least(0)
      .in_f32()
      .known_as(
          {"grad_clip", "clip_grad", "gradient_clip_val", "gradient_clipping", "max_norm", "grad_norm_clip"});
  fields.add("optimizer", c.optimizer, "moments in 8 or 32 bits; muon: matrices; the rest has AdamW")
      .known_as({"optim", "optimizer_name", "optimizer_type"})
      .choice_known_as({{"adamw_torch", "adamw"},
                        {"adamw_torch_fused", "adamw"},
                        {"AdamW", "adamw"},
                        {"adam", "adamw"},
                        {"adamw_8bit", "adamw8bit"},
                        {"adamw_bnb_8bit", "adamw8bit"},
                        {"AdamW8bit", "adamw8bit"},
                        {"paged_adamw_8bit", "adamw8bit"},
                        {"Muon", "muon"},
                        {"muon_8bit", "muon8bit"},
                        {"Muon8bit", "muon8bit"}});
  fields.add("optimizer_order", c.optimizer_order, "whose order of decay and update");
  describe_roles(c, fields);
  describe_muon(c, fields);
  fields.add("embedding_8bit", c.embedding_8bit, "8-bit moments for the embedding too");
  fields.add("router_8bit", c.router_8bit, "8-bit moments for the routers too");
  fields
      .add("mixed_precision", c.mixed_precision,
           "no: f32; tf32: rounded products; fp8: Hopper; auto: bf16 where fast")
      .known_as({"precision", "dtype", "torch_dtype", "amp", "bf16", "fp16", "param_dtype"})
      .choice_known_as({{"bfloat16", "bf16"},
                        {"float16", "fp16"},
                        {"half", "fp16"},
                        {"f16", "fp16"},
                        {"fp32", "no"},
                        {"float32", "no"},
                        {"f32", "no"},
                        {"none", "no"},
                        {"false", "no"},
                        {"bf16-mixed", "bf16"},
                        {"16-mixed", "fp16"},
                        {"float8", "fp8"},
                        {"e4m3", "fp8"}});
  fields.add("fp8_bf16_layers", c.fp8_bf16_layers, "fp8: so many layers at each end stay in bf16")
      .at_least(0);
  fields.add("loss_scale", c.loss_scale, "fp16: first factor on the gradients; halved on overflow")
      .range(1, LossScale::kMost);
  fields
      .add("loss_scale_growth_every", c.loss_scale_growth_every,
           "fp16: steps without overflow until it doubles; 0 is never")
      .range(0, kMost);
  fields.add("master_weights", c.master_weights,
             "type of weights as updated and saved; bf16 rounds at random");
  fields.add("gradient_type", c.gradient_type, "gradients of attention and experts");
  fields.add("recompute", c.recompute, "activations computed again in backward, to save memory")
      .known_as({"gradient_checkpointing", "activation_checkpointing", "activation_checkpoint",
                 "recompute_granularity", "remat"})
      .choice_known_as({{"true", "full"}, {"false", "none"}});
}

}  // namespace moe::train
