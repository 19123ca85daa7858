// SPDX-License-Identifier: MIT
// The shape of the model: section "model" of a config file. Nothing here depends on hardware.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/fields.h"
#include "model/spec.h"

namespace moe::model {

struct ModelConfig {
  int64_t d_model = 1024;
  int64_t n_layers = 16;
  int64_t n_heads = 16;
  int64_t n_kv_heads = 8;
  int64_t head_dim = 0;                            // 0: d_model / n_heads
  bool attention_gate = true;                      // G1: sigmoid gate on attention's output
  QkNorm qk_norm = QkNorm::head;                   // the norm of queries and keys before RoPE
  bool attention_bias = false;                     // of the projection to queries, keys and values
  std::vector<std::string> attention_window = {};  // tokens seen, by layer, repeated; 0 or none: all
  bool tie_embeddings = true;                      // the LM head is the embedding
  int64_t num_experts = 64;
  int64_t top_k = 2;
  int64_t expert_intermediate_dim = 512;
  int64_t shared_expert_dim = 0;       // inner width of the expert that each token goes to; 0: none
  bool shared_expert_gate = true;      // sigmoid gate on its result
  int64_t first_dense_layers = 0;      // layers with a dense SwiGLU in place of router and experts
  int64_t dense_intermediate_dim = 0;  // its inner width; 0: of all experts that a token meets elsewhere
  double capacity_factor = 1.0;        // 0: no limit (dropless)
  double aux_loss_weight = 0.001;
  double z_loss_weight = 0.0;
  bool renormalize_top_k = true;
  RouterScore router_score = RouterScore::softmax;
  double router_scale = 1.0;          // of the weights of the chosen experts
  bool router_bias = false;           // experts are chosen with biases; a rate above 0 says so, too
  double router_bias_rate = 0.0;      // of the biases that balance the choice; 0: they stay as they are
  double sequence_loss_weight = 0.0;  // of the balance loss of each row
  int64_t vocab_size = 50304;         // rows of the embedding; at least the tokenizer's vocabulary
  int64_t max_seq_len = 1024;         // T, the length of a training row
  double rope_theta = 10000.0;
  double partial_rotary_factor = 1.0;  // of a head's width, from its beginning: what turns with the position
  RopeScaling rope_scaling = RopeScaling::none;
  double rope_scaling_factor = 1.0;
  int64_t rope_original_len = 0;       // tokens of the rows that the unscaled model was trained on
  double rope_low_freq_factor = 1.0;   // llama3
  double rope_high_freq_factor = 4.0;  // llama3
  double rope_beta_fast = 32.0;        // yarn
  double rope_beta_slow = 1.0;         // yarn
  double rope_attention_factor = 0.0;  // yarn; 0: 0.1 ln(rope_scaling_factor) + 1
  double norm_eps = 1e-5;
  double embedding_multiplier = 1.0;  // of the rows of the embedding
  double residual_multiplier = 1.0;   // of what attention and experts add to the residual stream
  double attention_multiplier = 0.0;  // of the products of queries and keys; 0: 1 / sqrt(head_dim)
  double logits_scaling = 1.0;        // logits are divided by it
  double init_std = 0.02;

  Heads heads() const {
    return {n_heads, n_kv_heads, head_dim > 0 ? head_dim : d_model / n_heads, attention_gate, qk_norm};
  }
  int64_t window_of(int64_t layer) const;
  RopeSpec rope() const;
  bool has_router_bias() const { return router_bias || router_bias_rate > 0; }
  int64_t moe_layers() const { return n_layers - first_dense_layers; }
  // The inner width of dense layers; 0 where there are none.
  int64_t dense_width() const {
    if (first_dense_layers == 0) return 0;
    return dense_intermediate_dim > 0 ? dense_intermediate_dim
                                      : top_k * expert_intermediate_dim + shared_expert_dim;
  }
  ModelSpec spec() const;
  // First choices of N tokens that an expert has when all have equally many, rounded up.
  int64_t even_share(int64_t N) const { return (N + num_experts - 1) / num_experts; }
  // The weight of a single chosen expert over itself is 1, whatever the router says: no loss of the text
  // reaches the router.
  bool text_trains_router() const { return num_experts == 1 || top_k > 1 || !renormalize_top_k; }

  void describe(Fields& fields);
  // Limits of each setting, then of settings together. Throws a UserError that names both and a legal value.
  void validate() const;
  // That a capacity factor leaves each expert room for a row of N tokens. Throws a UserError with the least
  // factor that does.
  void check_capacity(int64_t N) const;
};

}  // namespace moe::model
