// SPDX-License-Identifier: MIT
// An enumeration that is a setting. Its names stand in one table beside it, found by its type:
//
//   enum class OnNan : uint8_t { stop, skip };
//   constexpr auto choices_of(OnNan) {
//     return choices<OnNan>({{OnNan::stop, "stop"}, {OnNan::skip, "skip"}});
//   }
//
// Fields (base/fields.h) reads, writes and lists the setting from that table. Code asks with a switch without
// default, so that a new value does not compile until each use has an answer.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/error.h"

namespace moe {

template <class E>
struct Choice {
  E value;
  std::string_view name;
  std::string_view former = {};  // its name in earlier versions, which is still read
};

// The table, in the order of help. The values are 0, 1, 2, ... in any order, and no two names are equal.
template <class E, size_t N>
consteval std::array<Choice<E>, N> choices(const Choice<E> (&list)[N]) {
  std::array<bool, N> seen{};
  for (size_t i = 0; i < N; ++i) {
    bool& taken = seen.at(static_cast<size_t>(list[i].value));
    if (taken) throw "a value twice";
    taken = true;
    for (size_t j = 0; j < i; ++j)
      if (list[i].name == list[j].name) throw "a name twice";
  }
  return std::to_array(list);
}

template <class E>
concept NamedEnum = std::is_enum_v<E> && requires(E value) {
  choices_of(value);
};

template <NamedEnum E>
constexpr std::string_view name_of(E value) {
  for (const Choice<E>& choice : choices_of(value))
    if (choice.value == value) return choice.name;
  CHECK(false, "a value without a name");
}

template <NamedEnum E>
std::vector<std::string> names_of() {
  std::vector<std::string> names;
  for (const Choice<E>& choice : choices_of(E{})) names.emplace_back(choice.name);
  return names;
}

// By its present name; nothing for another one.
template <NamedEnum E>
constexpr std::optional<E> value_named(std::string_view name) {
  for (const Choice<E>& choice : choices_of(E{}))
    if (choice.name == name) return choice.value;
  return std::nullopt;
}

}  // namespace moe
