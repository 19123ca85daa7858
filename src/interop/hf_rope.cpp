// SPDX-License-Identifier: MIT
#include "interop/hf_rope.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"

namespace moe::interop {
namespace {

constexpr const char* kHint = "docs/interop.md says which rotary settings moe reads";

// The keys of an object that have one meaning in each of its types.
constexpr std::string_view kOfAll[] = {"rope_type", "type", "rope_theta", "partial_rotary_factor"};
constexpr std::string_view kOfLlama3[] = {"factor", "original_max_position_embeddings", "low_freq_factor",
                                          "high_freq_factor"};
constexpr std::string_view kOfYarn[] = {"factor",    "original_max_position_embeddings",
                                        "beta_fast", "beta_slow",
                                        "truncate",  "attention_factor",
                                        "mscale",    "mscale_all_dim"};

model::RopeScaling scaling_of(const JsonFields& rope) {
  const char* const key = rope.has("rope_type") ? "rope_type" : "type";
  if (!rope.has(key)) return model::RopeScaling::none;
  const std::string name = rope.text(key);
  if (name == "default") return model::RopeScaling::none;
  const auto scaling = value_named<model::RopeScaling>(name);
  if (!scaling || *scaling == model::RopeScaling::none)
    rope.refuse(key, "one of default, linear, llama3, yarn", quote(rope.at(key)));
  return *scaling;
}

bool is_known(std::string_view key, model::RopeScaling scaling) {
  const auto among = [key](const auto& keys) { return std::ranges::find(keys, key) != std::end(keys); };
  switch (scaling) {
    case model::RopeScaling::none:
      return among(kOfAll);
    case model::RopeScaling::linear:
      return among(kOfAll) || key == "factor";
    case model::RopeScaling::llama3:
      return among(kOfAll) || among(kOfLlama3);
    case model::RopeScaling::yarn:
      return among(kOfAll) || among(kOfYarn);
  }
  return false;
}

// What cos and sin are multiplied by, where the file says it in one of its two ways; else 0.
double attention_factor(const JsonFields& rope, double factor) {
  if (rope.has("attention_factor")) return rope.number("attention_factor");
  if (!rope.has("mscale") || !rope.has("mscale_all_dim")) return 0;
  const double one = rope.number("mscale"), all = rope.number("mscale_all_dim");
  if (one == 0 || all == 0) return 0;  // as the class takes it
  return factor <= 1 ? 1 : (0.1 * one * std::log(factor) + 1) / (0.1 * all * std::log(factor) + 1);
}

void read_yarn(const JsonFields& rope, model::ModelConfig& config) {
  // null is as false in the class.
  if (rope.value().contains("truncate") && rope.value().at("truncate") != true)
    rope.refuse("truncate", "true: moe rounds the limits of the ramp, as the paper's code does",
                quote(rope.value().at("truncate")));
  if (rope.has("beta_fast")) config.rope_beta_fast = rope.number("beta_fast");
  if (rope.has("beta_slow")) config.rope_beta_slow = rope.number("beta_slow");
  config.rope_attention_factor = attention_factor(rope, config.rope_scaling_factor);
}

void read_scaling(const JsonFields& rope, model::ModelConfig& config) {
  config.rope_scaling = scaling_of(rope);
  for (const auto& [key, value] : rope.value().items())
    if (!value.is_null() && !is_known(key, config.rope_scaling))
      rope.refuse(key, "a key that moe knows of this rope_type", quote(value));
  if (config.rope_scaling == model::RopeScaling::none) return;
  config.rope_scaling_factor = rope.number("factor");
  if (config.rope_scaling == model::RopeScaling::linear) return;
  config.rope_original_len = rope.has("original_max_position_embeddings")
                                 ? rope.whole("original_max_position_embeddings", 1, int64_t{1} << 31)
                                 : config.max_seq_len;
  if (config.rope_scaling == model::RopeScaling::yarn) return read_yarn(rope, config);
  config.rope_low_freq_factor = rope.number("low_freq_factor");
  config.rope_high_freq_factor = rope.number("high_freq_factor");
}

double share_of_rotary_dim(const JsonFields& json, const Family& family, const model::ModelConfig& config) {
  const int64_t width = std::max<int64_t>(config.heads().dim, 1);  // 0 is refused later
  return static_cast<double>(json.whole(family.rotary_dim.c_str(), 1, int64_t{1} << 31)) /
         static_cast<double>(width);
}

}  // namespace

void read_rope(const JsonFields& json, const Family& family, model::ModelConfig& config) {
  config.rope_theta = json.has("rope_theta") ? json.number("rope_theta") : family.rope_theta;
  config.partial_rotary_factor =
      json.has("partial_rotary_factor") ? json.number("partial_rotary_factor") : family.partial_rotary;
  const bool as_dimensions = !family.rotary_dim.empty() && json.has(family.rotary_dim.c_str());
  if (as_dimensions && !json.has("partial_rotary_factor"))
    config.partial_rotary_factor = share_of_rotary_dim(json, family, config);
  const model::ModelConfig outside = config;
  const char* read = nullptr;
  for (const char* place : {"rope_scaling", "rope_parameters"}) {  // transformers reads the first one only
    if (!json.has(place) || json.at(place) == Json::object()) continue;
    const JsonFields rope(fmt::format("{}: {}", json.where(), place), json.at(place), kHint);
    model::ModelConfig here = outside;
    const auto take = [&](const char* key, double model::ModelConfig::*member) {
      if (!rope.has(key)) return;
      here.*member = rope.number(key);
      if (json.has(key) && here.*member != outside.*member)
        rope.refuse(key, fmt::format("{}, as beside it", outside.*member), quote(rope.at(key)));
    };
    take("rope_theta", &model::ModelConfig::rope_theta);
    take("partial_rotary_factor", &model::ModelConfig::partial_rotary_factor);
    read_scaling(rope, here);
    if (read != nullptr && here.rope() != config.rope())
      json.refuse(place, fmt::format("the same as in \"{}\"", read), quote(json.at(place)));
    config = here;
    read = place;
  }
  if (!as_dimensions) return;
  const double share = share_of_rotary_dim(json, family, config);
  if (share != config.partial_rotary_factor)
    json.refuse("partial_rotary_factor", fmt::format("{}, as {} says", share, family.rotary_dim),
                fmt::format("{}", config.partial_rotary_factor));
}

void write_rope(OrderedJson& json, const Family& family, const model::ModelConfig& config) {
  const bool scaled = config.rope_scaling != model::RopeScaling::none;
  OrderedJson rope{{"rope_type", scaled ? std::string(name_of(config.rope_scaling)) : "default"}};
  if (scaled) rope["factor"] = config.rope_scaling_factor;
  if (scaled && config.rope_scaling != model::RopeScaling::linear)
    rope["original_max_position_embeddings"] = config.rope_original_len;
  if (config.rope_scaling == model::RopeScaling::llama3) {
    rope["low_freq_factor"] = config.rope_low_freq_factor;
    rope["high_freq_factor"] = config.rope_high_freq_factor;
  }
  if (config.rope_scaling == model::RopeScaling::yarn) {
    rope["beta_fast"] = config.rope_beta_fast;
    rope["beta_slow"] = config.rope_beta_slow;
    if (config.rope_attention_factor > 0) rope["attention_factor"] = config.rope_attention_factor;
  }
  const OrderedJson of_before = rope;
  rope["rope_theta"] = config.rope_theta;
  const bool partial = family.partial_rotary != 1 || config.partial_rotary_factor != 1;
  if (partial) rope["partial_rotary_factor"] = config.partial_rotary_factor;
  json["rope_parameters"] = rope;
  if (!family.rotary_dim.empty()) json[family.rotary_dim] = config.rope().rotary_dim;
  if (partial) json["partial_rotary_factor"] = config.partial_rotary_factor;
  json["rope_theta"] = config.rope_theta;  // transformers 4 reads it here, whatever rope_parameters says
  if (scaled) json["rope_scaling"] = of_before;
}

}  // namespace moe::interop
