// SPDX-License-Identifier: MIT
// What a run reports: one row a step, made of names and numbers. docs/metrics.md lists the names in use.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace moe {

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
};

}  // namespace moe
