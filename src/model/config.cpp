// SPDX-License-Identifier: MIT
#include "model/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "ops/contracts/rotary.h"

namespace moe {
namespace {

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

}  // namespace

void ModelConfig::describe(Fields& fields) {
  fields.add("d_model", d_model, "width of the residual stream").range(2, 65536);
  fields.add("n_layers", n_layers, "transformer blocks").range(1, 1024);
  fields.add("n_heads", n_heads, "query heads; divides d_model").range(1, 1024);
  fields.add("n_kv_heads", n_kv_heads, "key/value heads; divides n_heads").range(1, 1024);
  fields.add("num_experts", num_experts, "experts in each block").range(1, 4096);
  fields.add("top_k", top_k, "experts that each token goes to").range(1, 64);
  fields.add("expert_intermediate_dim", expert_intermediate_dim, "inner width of one expert").range(1, 65536);
  fields.add("capacity_factor", capacity_factor, "room per expert over an even share; 0 drops no token")
      .range(0, 4096);
  fields.add("aux_loss_weight", aux_loss_weight, "weight of the load-balance loss").at_least(0);
  fields.add("z_loss_weight", z_loss_weight, "weight of the router's z-loss").at_least(0);
  fields.add("renormalize_top_k", renormalize_top_k, "weights of the chosen experts sum to one");
  fields.add("vocab_size", vocab_size, "rows of the embedding; GPT-2 needs 50257, more is padding")
      .range(1, 1 << 24);
  fields.add("max_seq_len", max_seq_len, "tokens in one training row").range(1, 1 << 20);
  fields.add("rope_theta", rope_theta, "base of the rotary frequencies").more_than(0);
  fields.add("norm_eps", norm_eps, "epsilon inside the RMS norms").more_than(0);
  fields.add("init_std", init_std, "standard deviation of the initial weights").more_than(0);
}

void ModelConfig::validate() const {
  ModelConfig copy = *this;
  Fields fields;
  copy.describe(fields);
  fields.check("model");
  const int64_t width = legal_width(d_model, n_heads);
  if (d_model % n_heads != 0)
    throw UserError("model.n_heads", fmt::format("a divisor of model.d_model ({})", d_model),
                    std::to_string(n_heads),
                    fmt::format("d_model {} or n_heads {}", width, nearest_divisor(d_model, n_heads)));
  if (head_dim() % 2 != 0)
    throw UserError("model.d_model", "an even width per head, d_model / n_heads (rotary pairs)",
                    fmt::format("{} / {} = {}", d_model, n_heads, head_dim()),
                    fmt::format("d_model {}", width));
  if (head_dim() > contracts::kMaxHeadDim)
    throw UserError(
        "model.n_heads",
        fmt::format("a width per head, d_model / n_heads, of at most {}", contracts::kMaxHeadDim),
        fmt::format("{} / {} = {}", d_model, n_heads, head_dim()),
        fmt::format("n_heads {} or more", (d_model + contracts::kMaxHeadDim - 1) / contracts::kMaxHeadDim));
  if (n_heads % n_kv_heads != 0)
    throw UserError("model.n_kv_heads", fmt::format("a divisor of model.n_heads ({})", n_heads),
                    std::to_string(n_kv_heads),
                    fmt::format("n_kv_heads {}", nearest_divisor(n_heads, n_kv_heads)));
  if (top_k > num_experts)
    throw UserError("model.top_k", fmt::format("at most model.num_experts ({})", num_experts),
                    std::to_string(top_k), fmt::format("top_k {}", num_experts));
}

}  // namespace moe
