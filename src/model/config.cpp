// SPDX-License-Identifier: MIT
#include "model/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <string>
#include <system_error>

#include "base/error.h"
#include "ops/attention.h"

namespace moe::model {
namespace {

constexpr int64_t kLongestWindow = 1 << 20;  // as max_seq_len

// The divisor of n nearest to wanted, the smaller of two equally near.
int64_t nearest_divisor(int64_t n, int64_t wanted) {
  int64_t best = 1;
  for (int64_t d = 2; d <= n; ++d)
    if (n % d == 0 && std::abs(d - wanted) < std::abs(best - wanted)) best = d;
  return best;
}

// The width nearest to d_model that n_heads divides into even heads.
int64_t legal_width(int64_t d_model, int64_t n_heads) {
  const int64_t step = 2 * n_heads;
  return std::max(step, (d_model + n_heads) / step * step);
}

// Without head_dim, the heads share d_model.
void check_derived_head_dim(const ModelConfig& config) {
  const int64_t d_model = config.d_model, n_heads = config.n_heads, dim = config.heads().dim;
  const int64_t width = legal_width(d_model, n_heads);
  if (d_model % n_heads != 0)
    throw UserError("model.n_heads", fmt::format("a divisor of model.d_model ({})", d_model),
                    std::to_string(n_heads),
                    fmt::format("d_model {} or n_heads {}", width, nearest_divisor(d_model, n_heads)));
  if (dim % 2 != 0)
    throw UserError("model.d_model", "an even width per head, d_model / n_heads (rotary pairs)",
                    fmt::format("{} / {} = {}", d_model, n_heads, dim), fmt::format("d_model {}", width));
  if (dim > kMaxHeadDim)
    throw UserError("model.n_heads",
                    fmt::format("a width per head, d_model / n_heads, of at most {}", kMaxHeadDim),
                    fmt::format("{} / {} = {}", d_model, n_heads, dim),
                    fmt::format("n_heads {} or more", (d_model + kMaxHeadDim - 1) / kMaxHeadDim));
}

void describe_attention(ModelConfig& c, Fields& fields) {
  fields.add("n_heads", c.n_heads, "query heads; divides d_model, unless head_dim is given")
      .range(1, 1024)
      .known_as({"num_attention_heads", "n_head", "num_heads", "heads"});
  fields.add("n_kv_heads", c.n_kv_heads, "key/value heads; divides n_heads")
      .range(1, 1024)
      .known_as({"num_key_value_heads", "num_query_groups", "num_kv_heads", "n_kv_head"});
  fields.add("head_dim", c.head_dim, "width of a head; 0: d_model / n_heads")
      .range(0, kMaxHeadDim)
      .known_as({"kv_channels", "attention_head_size", "head_size", "d_head", "d_kv"});
  fields
      .add("attention_window", c.attention_window,
           "tokens seen, by layer, repeated: [512, 512, 0]; 0 or none is all")
      .known_as({"sliding_window", "window_size", "local_attention_window", "attention_window_size"});
  fields.add("attention_gate", c.attention_gate, "sigmoid gate on attention's output (G1)")
      .known_as({"attn_output_gate", "gated_attention", "use_attention_gate"});
  fields.add("qk_norm", c.qk_norm, "RMS norm of queries and keys: by head, over the projection, or none")
      .known_as({"use_qk_norm", "qk_layernorm", "query_key_norm"});
  fields.add("attention_bias", c.attention_bias, "biases on the projection to queries, keys and values")
      .known_as({"qkv_bias", "add_qkv_bias", "use_qkv_bias"});
}

void describe_router(ModelConfig& c, Fields& fields) {
  fields.add("router_score", c.router_score, "what the router's logits become before experts are weighed")
      .known_as({"scoring_func", "score_func", "moe_router_score_function"});
  fields.add("router_scale", c.router_scale, "the weights of the chosen experts are multiplied by it")
      .more_than(0)
      .in_f32()
      .known_as({"routed_scaling_factor", "route_scale", "moe_router_topk_scaling_factor"});
  fields.add("router_bias", c.router_bias, "experts are chosen with biases, also where their rate is 0")
      .known_as({"use_routing_bias", "use_expert_bias", "moe_router_enable_expert_bias"});
  fields
      .add("router_bias_rate", c.router_bias_rate,
           "speed of the biases that balance experts; 0: none move; 0.001 is usual")
      .at_least(0)
      .in_f32()
      .known_as({"bias_update_speed", "moe_router_bias_update_rate", "bias_update_rate"});
  fields.add("sequence_loss_weight", c.sequence_loss_weight, "weight of the balance loss of each row")
      .at_least(0)
      .in_f32()
      .known_as({"seq_aux_loss_alpha", "seq_aux_loss_weight"});
}

void describe_rope(ModelConfig& c, Fields& fields) {
  fields.add("rope_theta", c.rope_theta, "base of the rotary frequencies")
      .at_least(1)
      .known_as({"rotary_base", "rope_base", "rotary_emb_base"});
  fields
      .add("partial_rotary_factor", c.partial_rotary_factor,
           "share of a head's width that turns with the position")
      .range(0, 1)
      .known_as({"rotary_percent", "rotary_pct", "rope_pct", "rotary_share"});
  fields.add("rope_scaling", c.rope_scaling, "how rotary frequencies are stretched for longer rows")
      .known_as({"rope_type", "rope_scaling_type"});
  fields.add("rope_scaling_factor", c.rope_scaling_factor, "how often the original rows fit into longer ones")
      .at_least(1)
      .known_as({"rotary_scaling_factor", "scaling_factor"});
  fields
      .add("rope_original_len", c.rope_original_len,
           "tokens of the rows before stretching; llama3 and yarn need it")
      .range(0, 1 << 24)
      .known_as({"original_max_position_embeddings", "original_max_seq_len"});
  fields.add("rope_low_freq_factor", c.rope_low_freq_factor, "llama3: slower turns than this are stretched")
      .more_than(0)
      .known_as({"low_freq_factor"});
  fields.add("rope_high_freq_factor", c.rope_high_freq_factor, "llama3: faster turns than this stay")
      .more_than(0)
      .known_as({"high_freq_factor"});
  fields.add("rope_beta_fast", c.rope_beta_fast, "yarn: pairs with more turns in the original rows stay")
      .more_than(0)
      .known_as({"beta_fast"});
  fields.add("rope_beta_slow", c.rope_beta_slow, "yarn: pairs with fewer turns are stretched")
      .more_than(0)
      .known_as({"beta_slow"});
  fields
      .add("rope_attention_factor", c.rope_attention_factor,
           "yarn: of cos and sin; 0: 0.1 ln(rope_scaling_factor) + 1")
      .at_least(0)
      .known_as({"attention_factor"});
}

void check_rope(const ModelConfig& c) {
  const RopeSpec rope = c.rope();
  const double width = c.partial_rotary_factor * static_cast<double>(rope.head_dim);
  if (rope.rotary_dim % 2 != 0 || static_cast<double>(rope.rotary_dim) != width)
    throw UserError(
        "model.partial_rotary_factor", fmt::format("an even part of a head's width ({})", rope.head_dim),
        fmt::format("{}, which is {}", c.partial_rotary_factor, width), "0.5 turns half of it, 1 all");
  if (rope.scaling == RopeScaling::none && rope.factor != 1)
    throw UserError("model.rope_scaling", fmt::format("a way to stretch {} times", rope.factor), "none",
                    "set rope_scaling to linear, llama3 or yarn, or leave rope_scaling_factor out");
  const bool by_turns = rope.scaling == RopeScaling::llama3 || rope.scaling == RopeScaling::yarn;
  if (by_turns && c.rope_original_len == 0)
    throw UserError("model.rope_original_len",
                    fmt::format("a number of tokens: {} needs it", name_of(rope.scaling)), "0",
                    "the length of the rows that the model was trained on before, 4096 for example");
  if (rope.scaling == RopeScaling::llama3 && rope.high_freq_factor <= rope.low_freq_factor)
    throw UserError("model.rope_high_freq_factor",
                    fmt::format("more than rope_low_freq_factor ({})", rope.low_freq_factor),
                    fmt::format("{}", rope.high_freq_factor), "Llama 3.1 has 1 and 4");
  if (rope.scaling == RopeScaling::yarn && (rope.beta_fast <= rope.beta_slow || rope.theta <= 1))
    throw UserError("model.rope_beta_fast",
                    fmt::format("more than rope_beta_slow ({}), and a rope_theta above 1", rope.beta_slow),
                    fmt::format("{}, and {}", rope.beta_fast, rope.theta), "the paper has 32 and 1");
}

// Granite's four, which trained models have. They are settings of a model, not weights of it.
void describe_multipliers(ModelConfig& c, Fields& fields) {
  fields.add("embedding_multiplier", c.embedding_multiplier, "rows of the embedding are multiplied by it")
      .more_than(0)
      .in_f32();
  fields
      .add("residual_multiplier", c.residual_multiplier,
           "what attention and experts add to the stream is multiplied by it")
      .more_than(0)
      .in_f32();
  fields
      .add("attention_multiplier", c.attention_multiplier,
           "attention's scores are q k times it; 0: 1 / sqrt(head_dim)")
      .at_least(0)
      .in_f32();
  fields.add("logits_scaling", c.logits_scaling, "logits are divided by it").more_than(0).in_f32();
}

void describe_dense(ModelConfig& c, Fields& fields) {
  fields
      .add("shared_expert_dim", c.shared_expert_dim,
           "inner width of the expert that each token goes to; 0: none")
      .range(0, 65536)
      .known_as({"shared_expert_intermediate_size", "moe_shared_expert_intermediate_size"});
  fields.add("shared_expert_gate", c.shared_expert_gate, "sigmoid gate on the shared expert's result");
  fields
      .add("first_dense_layers", c.first_dense_layers,
           "the first layers that have a dense SwiGLU in place of experts")
      .range(0, 1024)
      .known_as({"first_k_dense_replace", "num_dense_layers", "n_dense_layers"});
  fields
      .add("dense_intermediate_dim", c.dense_intermediate_dim,
           "inner width of dense layers; 0: as wide as what a token meets elsewhere")
      .range(0, 1 << 20)
      .known_as({"dense_intermediate_size", "dense_ffn_hidden_size", "intermediate_size_mlp"});
  fields.absent({"n_shared_experts", "num_shared_experts"},
                "several shared experts are one of their widths together: set shared_expert_dim");
  fields.absent({"moe_layer_freq", "decoder_sparse_step", "mlp_only_layers"},
                "dense layers come first: set first_dense_layers");
}

void refuse_absent(Fields& fields) {
  fields.absent({"dropout", "attention_dropout", "hidden_dropout", "attn_dropout", "attn_pdrop",
                 "resid_pdrop", "embd_pdrop"},
                "there is no dropout: leave it out");
  fields.absent({"bias", "mlp_bias"}, "only attention's projection can have one: attention_bias");
  fields.absent({"hidden_act", "activation", "activation_function"}, "experts are SwiGLU: leave it out");
  fields.absent({"attn_implementation", "flash_attention", "use_flash_attn", "flash_attn"},
                "attention is always fused and never keeps its scores: leave it out");
}

}  // namespace

int64_t ModelConfig::window_of(int64_t layer) const {
  if (attention_window.empty()) return 0;
  const std::string& text =
      attention_window[static_cast<size_t>(layer) % static_cast<size_t>(std::ssize(attention_window))];
  int64_t window = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), window);
  if (error != std::errc() || end != text.data() + text.size() || window < 0 || window > kLongestWindow)
    throw UserError("model.attention_window",
                    fmt::format("numbers of tokens, each from 0 (all) to {}", kLongestWindow), text,
                    "[512, 512, 0] gives every third layer the whole row");
  return window;
}

RopeSpec ModelConfig::rope() const {
  const int64_t width = heads().dim;
  return {.head_dim = width,
          .rotary_dim = static_cast<int64_t>(partial_rotary_factor * static_cast<double>(width)),
          .theta = rope_theta,
          .scaling = rope_scaling,
          .factor = rope_scaling_factor,
          .original_len = static_cast<double>(rope_original_len),
          .low_freq_factor = rope_low_freq_factor,
          .high_freq_factor = rope_high_freq_factor,
          .beta_fast = rope_beta_fast,
          .beta_slow = rope_beta_slow,
          .attention_factor = rope_attention_factor,
          .score_scale =
              attention_multiplier > 0 ? attention_multiplier * std::sqrt(static_cast<double>(width)) : 1};
}

void ModelConfig::describe(Fields& fields) {
  fields.add("d_model", d_model, "width of the residual stream")
      .range(2, 65536)
      .known_as({"hidden_size", "n_embd", "dim", "model_dim", "embed_dim", "embedding_dim"});
  fields.add("n_layers", n_layers, "transformer blocks")
      .range(1, 1024)
      .known_as({"num_hidden_layers", "num_layers", "n_layer", "depth", "layers"});
  describe_attention(*this, fields);
  fields.add("num_experts", num_experts, "experts in each block")
      .range(1, 4096)
      .known_as({"num_local_experts", "n_routed_experts", "n_experts", "experts", "moe_num_experts"});
  fields.add("top_k", top_k, "experts that each token goes to")
      .range(1, 64)
      .known_as({"num_experts_per_tok", "num_experts_per_token", "moe_router_topk", "moe_top_k"});
  fields.add("expert_intermediate_dim", expert_intermediate_dim, "inner width of one expert")
      .range(1, 65536)
      .known_as({"moe_intermediate_size", "intermediate_size", "moe_ffn_hidden_size", "ffn_hidden_size",
                 "d_ff", "hidden_dim", "ffn_dim"});
  describe_dense(*this, fields);
  fields.add("capacity_factor", capacity_factor, "room per expert over an even share; 0 drops no token")
      .range(0, 4096)
      .known_as({"moe_expert_capacity_factor", "expert_capacity_factor", "expert_capacity"});
  fields.add("aux_loss_weight", aux_loss_weight, "weight of the load-balance loss")
      .at_least(0)
      .in_f32()
      .known_as({"router_aux_loss_coef", "moe_aux_loss_coeff", "aux_loss_coef", "aux_loss_coeff",
                 "load_balancing_loss_weight", "balance_loss_weight"});
  fields.add("z_loss_weight", z_loss_weight, "weight of the router's z-loss")
      .at_least(0)
      .in_f32()
      .known_as({"router_z_loss_coef", "moe_z_loss_coeff", "z_loss_coef"});
  fields.add("renormalize_top_k", renormalize_top_k, "weights of the chosen experts sum to one")
      .known_as({"norm_topk_prob", "normalize_expert_weights"});
  describe_router(*this, fields);
  fields.add("vocab_size", vocab_size, "rows of the embedding; GPT-2 needs 50257, more is padding")
      .range(1, 1 << 24)
      .known_as({"padded_vocab_size", "n_vocab"});
  fields.add("tie_embeddings", tie_embeddings, "the LM head is the embedding's matrix")
      .known_as({"tie_word_embeddings", "weight_tying", "share_embeddings_and_output_weights"});
  fields.add("max_seq_len", max_seq_len, "tokens in one training row")
      .range(2, 1 << 20)
      .known_as({"max_seq_length", "block_size", "seq_len", "seq_length", "sequence_length", "context_length",
                 "context_size", "max_position_embeddings", "n_ctx", "n_positions", "max_length"});
  describe_rope(*this, fields);
  fields.add("norm_eps", norm_eps, "epsilon inside the RMS norms")
      .more_than(0)
      .in_f32()
      .known_as({"rms_norm_eps", "layer_norm_eps", "layernorm_epsilon", "norm_epsilon"});
  describe_multipliers(*this, fields);
  fields.add("init_std", init_std, "standard deviation of the initial weights")
      .more_than(0)
      .in_f32()
      .known_as({"initializer_range", "init_method_std"});
  refuse_absent(fields);
}

void ModelConfig::validate() const {
  ModelConfig copy = *this;
  Fields fields;
  copy.describe(fields);
  fields.check("model");
  if (head_dim > 0 && head_dim % 2 != 0)
    throw UserError("model.head_dim", "an even width per head (rotary pairs)", std::to_string(head_dim),
                    fmt::format("head_dim {}", head_dim + 1));
  if (head_dim == 0) check_derived_head_dim(*this);
  for (int64_t i = 0; i < std::ssize(attention_window); ++i) window_of(i);
  check_rope(*this);
  if (n_heads % n_kv_heads != 0)
    throw UserError("model.n_kv_heads", fmt::format("a divisor of model.n_heads ({})", n_heads),
                    std::to_string(n_kv_heads),
                    fmt::format("n_kv_heads {}", nearest_divisor(n_heads, n_kv_heads)));
  if (top_k > num_experts)
    throw UserError("model.top_k", fmt::format("at most model.num_experts ({})", num_experts),
                    std::to_string(top_k), fmt::format("top_k {}", num_experts));
  if (first_dense_layers > n_layers)
    throw UserError("model.first_dense_layers", fmt::format("at most model.n_layers ({})", n_layers),
                    std::to_string(first_dense_layers),
                    fmt::format("first_dense_layers {}: a model without experts", n_layers));
}

ModelSpec ModelConfig::spec() const {
  // The stream is kept divided by residual_multiplier, so that branches add to it as they are: its norms are
  // the same with an eps over the square of that.
  const auto eps = static_cast<float>(norm_eps / (residual_multiplier * residual_multiplier));
  ModelSpec spec{.layers = {},
                 .head = {.width = d_model,
                          .vocab_size = vocab_size,
                          .tied = tie_embeddings,
                          .norm_eps = eps,
                          .logit_scale = static_cast<float>(1 / logits_scaling)},
                 .rope = rope(),
                 .embedding_scale = static_cast<float>(embedding_multiplier / residual_multiplier),
                 .init_std = init_std};
  const MoeSpec moe{.width = d_model,
                    .experts = num_experts,
                    .top_k = top_k,
                    .inner_width = expert_intermediate_dim,
                    .renormalise = renormalize_top_k,
                    .balance_weight = static_cast<float>(aux_loss_weight),
                    .z_weight = static_cast<float>(z_loss_weight),
                    .score = router_score,
                    .router_scale = static_cast<float>(router_scale),
                    .biased = has_router_bias(),
                    .sequence_weight = static_cast<float>(sequence_loss_weight),
                    .norm_eps = eps,
                    .shared = {.width = d_model, .inner_width = shared_expert_dim},
                    .shared_gate = shared_expert_gate};
  const DenseSpec dense{.ffn = {.width = d_model, .inner_width = dense_width()}, .norm_eps = eps};
  for (int64_t i = 0; i < n_layers; ++i) {
    const bool is_dense = i < first_dense_layers;
    spec.layers.push_back({.attention = {.width = d_model,
                                         .heads = heads(),
                                         .window = window_of(i),
                                         .norm_eps = eps,
                                         .qk_norm_eps = static_cast<float>(norm_eps),
                                         .bias = attention_bias},
                           .moe = is_dense ? MoeSpec{} : moe,
                           .dense = is_dense ? dense : DenseSpec{}});
  }
  return spec;
}

void ModelConfig::check_capacity(int64_t N) const {
  const auto share = static_cast<double>(even_share(N));
  if (capacity_factor == 0 || capacity_factor * share >= 1) return;
  // Rounded up: 1 / share times share may be less than 1.
  const double least = std::ceil(1e4 / share) / 1e4;
  throw UserError(
      "model.capacity_factor",
      fmt::format("at least {}: an even share of {} tokens is {} for an expert, and it has to take one",
                  least, N, static_cast<int64_t>(share)),
      fmt::format("{}", capacity_factor),
      fmt::format("capacity_factor {}, or 0, which drops no token", least));
}

}  // namespace moe::model
