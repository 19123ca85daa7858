// SPDX-License-Identifier: MIT
#include "interop/reference_rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

namespace moe::interop {
namespace {

double number(const JsonFields& json, const char* key, double otherwise) {
  return json.has(key) ? json.number(key) : otherwise;
}

void stretch_llama3(const JsonFields& rope, double original, std::vector<double>& frequencies) {
  const double factor = rope.number("factor"), low = rope.number("low_freq_factor"),
               high = rope.number("high_freq_factor");
  for (double& f : frequencies) {
    const double turns = original * f / (2 * std::numbers::pi);  // in the rows of the unstretched model
    const double kept = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    f = kept * f + (1 - kept) * f / factor;
  }
}

double yarn_scale(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1;
}

double stretch_yarn(const JsonFields& rope, double original, double theta, int64_t width,
                    std::vector<double>& frequencies) {
  const double factor = rope.number("factor");
  const auto pair_of = [&](double turns) {
    return static_cast<double>(width) * std::log(original / (turns * 2 * std::numbers::pi)) /
           (2 * std::log(theta));
  };
  const double first = std::max(std::floor(pair_of(number(rope, "beta_fast", 32))), 0.0);
  double last = std::min(std::ceil(pair_of(number(rope, "beta_slow", 1))), static_cast<double>(width - 1));
  if (first == last) last += 0.001;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - first) / (last - first), 0.0, 1.0);
    frequencies[i] *= (1 - ramp) + ramp / factor;
  }
  if (rope.has("attention_factor")) return rope.number("attention_factor");
  const double one = number(rope, "mscale", 0), all = number(rope, "mscale_all_dim", 0);
  return one != 0 && all != 0 ? yarn_scale(factor, one) / yarn_scale(factor, all) : yarn_scale(factor, 1);
}

}  // namespace

ReferenceRotary reference_rotary(const JsonFields& json, double default_theta, double default_partial,
                                 int64_t d) {
  const char* const place = json.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  const Json nothing = Json::object();
  const JsonFields rope("rope", json.has(place) ? json.at(place) : nothing);
  const auto outside = [&](const char* key, double otherwise) {
    return number(rope, key, number(json, key, otherwise));
  };
  const double theta = outside("rope_theta", default_theta);
  if (json.has("rotary_dim")) default_partial = json.number("rotary_dim") / static_cast<double>(d);
  const auto width =
      static_cast<int64_t>(static_cast<double>(d) * outside("partial_rotary_factor", default_partial));
  ReferenceRotary rotary;
  for (int64_t i = 0; i < width / 2; ++i)
    rotary.frequencies.push_back(std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(width)));
  const char* const key = rope.has("rope_type") ? "rope_type" : "type";
  const std::string type = rope.has(key) ? rope.text(key) : "default";
  const double original =
      number(rope, "original_max_position_embeddings", json.number("max_position_embeddings"));
  if (type == "linear")
    for (double& f : rotary.frequencies) f /= rope.number("factor");
  else if (type == "llama3")
    stretch_llama3(rope, original, rotary.frequencies);
  else if (type == "yarn")
    rotary.factor = stretch_yarn(rope, original, theta, width, rotary.frequencies);
  else if (type != "default")
    rope.refuse(key, "default, linear, llama3 or yarn", type);
  return rotary;
}

void turn(double* head, int64_t position, const ReferenceRotary& rotary) {
  const size_t half = rotary.frequencies.size();
  for (size_t i = 0; i < half; ++i) {
    const double angle = static_cast<double>(position) * rotary.frequencies[i];
    const double c = rotary.factor * std::cos(angle), s = rotary.factor * std::sin(angle);
    const double x = head[i], y = head[i + half];
    head[i] = x * c - y * s;
    head[i + half] = y * c + x * s;
  }
}

}  // namespace moe::interop
