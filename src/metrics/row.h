// SPDX-License-Identifier: MIT
// What a run reports: one row a step, made of names and numbers. docs/metrics.md lists the names in use.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace moe::metrics {

struct Row {
  using Value =
      std::variant<double, int64_t, std::string, std::vector<double>, std::vector<std::vector<double>>>;

  int64_t step = 0;
  std::vector<std::pair<std::string, Value>>
      values;  // in the order they are shown and written; no name twice

  // row.add("loss", loss).add("tokens", tokens): any arithmetic type becomes double or int64.
  template <class T>
  Row& add(std::string name, T&& value) {
    using Plain = std::decay_t<T>;
    if constexpr (std::is_integral_v<Plain>) {
      values.emplace_back(std::move(name), static_cast<int64_t>(value));
    } else if constexpr (std::is_floating_point_v<Plain>) {
      values.emplace_back(std::move(name), static_cast<double>(value));
    } else {
      values.emplace_back(std::move(name), Value(std::forward<T>(value)));
    }
    return *this;
  }

  // Null when there is no such name.
  const Value* find(std::string_view name) const {
    for (const auto& [key, value] : values) {
      if (key == name) return &value;
    }
    return nullptr;
  }

  // Of either kind of number; nothing for texts and lists, and where there is no such name.
  static std::optional<double> number_of(const Value& value) {
    if (const auto* real = std::get_if<double>(&value)) return *real;
    if (const auto* whole = std::get_if<int64_t>(&value)) return static_cast<double>(*whole);
    return std::nullopt;
  }
  std::optional<double> number(std::string_view name) const {
    const Value* value = find(name);
    return value ? number_of(*value) : std::nullopt;
  }
};

}  // namespace moe::metrics
