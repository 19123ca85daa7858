// SPDX-License-Identifier: MIT
#include "cli/plan_recipe.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/format.h"
#include "base/json.h"
#include "train/recipe.h"

namespace moe::cli {
namespace {

constexpr const char* kCaution =
    "others fitted these laws, for AdamW with one rate for all tensors; none is measured here: begin a "
    "search "
    "with them";
constexpr const char* kParameters =
    "N: without embedding and head. Sources differ on which N counts for experts: take the rates as a range";

std::string number(double value, const std::string& unit) {
  if (unit == "tokens" || unit == "steps") return format_count(value);
  if (unit == "%") return fmt::format("{:.2g} %", value);
  return fmt::format("{:.3g}", value);
}

std::string table(const train::Recipe& recipe) {
  std::string text = fmt::format("recipe         for {} tokens; N {} active, {} in all\n  {}\n  {}\n",
                                 format_count(recipe.tokens), format_count(recipe.active),
                                 format_count(recipe.total), kCaution, kParameters);
  text += fmt::format("  {:<38}{:>10}{:>10}   {}\n", "", "by law", "here", "formula (source)");
  for (const train::Advice& one : recipe.advice)
    text += fmt::format("  {:<38}{:>10}{:>10}   {} ({})\n", one.name, number(one.law, one.unit),
                        one.here ? number(*one.here, one.unit) : "-", one.formula, one.source);
  return text;
}

std::string to_json(const train::Recipe& recipe) {
  OrderedJson advice = OrderedJson::array();
  for (const train::Advice& one : recipe.advice)
    advice.push_back({{"name", one.name},
                      {"unit", one.unit},
                      {"law", one.law},
                      {"here", one.here ? OrderedJson(*one.here) : OrderedJson()},
                      {"formula", one.formula},
                      {"source", one.source}});
  return OrderedJson{{"tokens", recipe.tokens},
                     {"active_parameters", recipe.active},
                     {"parameters", recipe.total},
                     {"caution", kCaution},
                     {"advice", advice}}
             .dump(1) +
         "\n";
}

}  // namespace

std::string recipe_text(train::RunConfig config, int ranks, double tokens, bool json) {
  config.set_last_step(ranks);
  if (tokens == 0)
    tokens =
        static_cast<double>(config.tokens_of_step(ranks)) * static_cast<double>(config.training.max_steps);
  if (tokens == 0)
    throw UserError("training.max_steps", "a run of one step at least", "0", "--tokens N gives the length");
  const train::Recipe recipe = train::recipe(config, ranks, tokens);
  return json ? to_json(recipe) : table(recipe);
}

}  // namespace moe::cli
