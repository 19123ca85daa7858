// SPDX-License-Identifier: MIT
#include "wandb/history.h"

#include <fmt/format.h>

#include <cmath>

#include "base/json.h"
#include "base/utf8.h"
#include "metrics/histogram.h"

namespace moe::wandb {
namespace {

std::string json_histogram(const metrics::Histogram& histogram) {
  const auto list = [](const std::vector<double>& values) {
    std::string text;
    for (const double value : values) {
      if (!text.empty()) text += ',';
      text += json_number(value);
    }
    return text;
  };
  return fmt::format(R"({{"_type":"histogram","values":[{}],"bins":[{}]}})", list(histogram.weights),
                     list(histogram.edges));
}

struct ToEntry {
  const std::string& name;

  Entry operator()(double value) const { return {name, json_number(value), true}; }
  Entry operator()(int64_t value) const { return {name, std::to_string(value), true}; }
  Entry operator()(const std::string& value) const { return {name, json_string(value), false}; }
  Entry operator()(const std::vector<double>& values) const {
    return {name, json_histogram(metrics::profile(values)), false};
  }
  Entry operator()(const std::vector<std::vector<double>>& values) const {
    return {name, json_histogram(metrics::load_histogram(values)), false};
  }
};

}  // namespace

std::string json_number(double value) {
  constexpr double kExact = 9007199254740992.0;  // 2^53
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  if (value == std::trunc(value) && std::abs(value) <= kExact)
    return std::to_string(static_cast<int64_t>(value));
  return Json(value).dump();
}

std::string json_string(const std::string& text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string valid_utf8(const std::string& text) {
  std::string repaired;
  repair_utf8(text, repaired);
  return repaired;
}

Entry to_entry(const std::string& name, const metrics::Row::Value& value) {
  return std::visit(ToEntry{name}, value);
}

}  // namespace moe::wandb
