// SPDX-License-Identifier: MIT
#include "train/recipe.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "model/flops.h"

namespace moe::train {
namespace {

constexpr const char* kStepLaw = "Step Law, arXiv 2503.04715";
constexpr double kWarmupShare = 0.02;

double step_law_rate(double N, double D) {
  return 1.79 * std::pow(N, -0.713) * std::pow(D, 0.307);
}

double step_law_batch(double D) {
  return 0.58 * std::pow(D, 0.571);
}

double joint_law_rate(double N, double E) {
  return std::exp(8.39 - 0.81 * std::log(N) - 0.25 * std::log(E));
}

double best_timescale(double D, double N) {
  return 1.084 * std::pow(D / N, -0.527);
}

// Of the arithmetic of a step of so many tokens.
double newton_schulz_share(const RunConfig& config, double batch) {
  const double iteration = model::newton_schulz_flops(config.model, config.training.muon_steps);
  const double passes = batch * model::flops_per_token(config.model, config.model.max_seq_len).total();
  return iteration / (iteration + passes);
}

void add_rates(Recipe& recipe, const RunConfig& config, double batch) {
  const double rate = config.training.learning_rate, law = step_law_rate(recipe.active, recipe.tokens);
  const auto add = [&](std::string name, double value, std::string formula, std::string source) {
    recipe.advice.push_back({std::move(name), "", value, rate, std::move(formula), std::move(source)});
  };
  const std::string formula = "1.79 N^-0.713 D^0.307";
  add("peak rate, N active", law, formula, kStepLaw);
  add("peak rate, N total", step_law_rate(recipe.total, recipe.tokens), formula, kStepLaw);
  add("peak rate, N active, E experts",
      joint_law_rate(recipe.active, static_cast<double>(config.model.num_experts)),
      "exp(8.39 - 0.81 ln N - 0.25 ln E)", "arXiv 2502.05172");
  add("the first, at the batch here", law * std::sqrt(batch / step_law_batch(recipe.tokens)),
      "rate sqrt(B here / B)", "arXiv 2205.10287");
}

void add_decay(Recipe& recipe, const RunConfig& config, double batch) {
  const TrainingConfig& training = config.training;
  const double timescale = best_timescale(recipe.tokens, recipe.active);
  const double rate = training.learning_rate, decay = training.weight_decay;
  std::optional<double> here;
  if (rate * decay > 0) here = batch / (rate * decay * recipe.tokens);
  recipe.advice.push_back({"timescale of the decay", "runs", timescale, here,
                           "T = 1.084 (D/N)^-0.527; here B / (rate decay D)",
                           "arXiv 2505.13738, 2405.13698"});
  if (rate > 0)
    recipe.advice.push_back({"weight decay at the rate and batch here", "",
                             batch / (rate * timescale * recipe.tokens), decay, "B / (rate T D)",
                             "arXiv 2505.13738, 2405.13698"});
}

}  // namespace

Recipe recipe(const RunConfig& config, int ranks, double tokens) {
  CHECK(tokens > 0);
  const TrainingConfig& training = config.training;
  const model::ParameterCount count = model::count_parameters(config.model);
  Recipe recipe{.tokens = tokens,
                .active = static_cast<double>(count.active - count.embeddings),
                .total = static_cast<double>(count.total - count.embeddings),
                .advice = {}};
  const auto batch = static_cast<double>(config.tokens_of_step(ranks));
  const double law_batch = step_law_batch(tokens), steps = std::ceil(tokens / law_batch);
  add_rates(recipe, config, batch);
  recipe.advice.push_back({"batch", "tokens", law_batch, batch, "0.58 D^0.571", kStepLaw});
  recipe.advice.push_back(
      {"steps", "", steps, static_cast<double>(training.max_steps), "D / B", "the batch above"});
  const double least = 2 / (1 - training.beta2);
  recipe.advice.push_back({"warm-up", "steps", std::ceil(std::max(least, kWarmupShare * steps)),
                           static_cast<double>(training.warmup_steps),
                           "max(2 / (1 - beta2), 2 % of the steps)",
                           "arXiv 1910.04209; the share is custom, no law"});
  add_decay(recipe, config, batch);
  recipe.advice.push_back({"Newton-Schulz, of a step's arithmetic", "%",
                           100 * newton_schulz_share(config, law_batch),
                           has_muon(training.optimizer) ? 100 * newton_schulz_share(config, batch) : 0,
                           "k (4 m^2 n + 2 m^3) for each m x n matrix, if Muon is used", "docs/numerics.md"});
  return recipe;
}

}  // namespace moe::train
