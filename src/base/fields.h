// SPDX-License-Identifier: MIT
// Settings declared once. A config struct lists its members in describe(Fields&); from that list come parsing
// with type and range checks, help, printing and comparison. Knows nothing of YAML: base/config_file.h reads
// files.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/choices.h"

namespace moe {

// One setting: a name, a place in a config struct, and what it may hold.
class Field {
 public:
  using List = std::vector<std::string>;
  using Value = std::variant<int64_t, double, bool, std::string, List>;
  // The place of an enumeration (base/choices.h), which is read and written by the names of its values.
  struct Named {
    void* place;
    std::string (*read)(const void* place);
    void (*write)(void* place, std::string_view name);
  };
  using Target = std::variant<int64_t*, double*, bool*, std::string*, List*, Named>;

  Field(std::string name, Target target, std::string help);
  template <NamedEnum E>
  Field(std::string name, E& value, std::string help)
      : Field(std::move(name), Named{&value, read_name<E>, write_name<E>}, std::move(help)) {
    for (const Choice<E>& choice : choices_of(value)) {
      choices_.emplace_back(choice.name);
      if (!choice.former.empty()) former_words_.emplace_back(choice.former, choice.name);
    }
  }

  // Limits, checked by set() and check(). range is inclusive.
  Field& range(double min, double max);
  Field& at_least(double min);
  Field& more_than(double bound);
  Field& less_than(double bound);
  // Names that other programs have for it, and words that they have for a choice ({"cuda", "gpu"}). Neither
  // is taken: the error that refuses it names ours.
  Field& known_as(std::vector<std::string> names);
  Field& choice_known_as(std::vector<std::pair<std::string, std::string>> words);
  // Names of earlier versions. They are taken.
  Field& formerly(std::vector<std::string> names);
  // An integer for which 0 has this word, and no other meaning: "auto". It is written and read so, whatever
  // the limits.
  Field& zero_is(std::string word);
  // A number that arithmetic takes as an f32: the limits are those of the rounded value, and what is not 0
  // must not become 0 (nor a subnormal number, which a GPU may take for 0).
  Field& in_f32();

  const std::string& name() const { return name_; }
  const std::string& help() const { return help_; }
  const std::vector<std::string>& allowed() const { return choices_; }
  const std::vector<std::string>& other_names() const { return other_names_; }
  const std::vector<std::string>& former_names() const { return former_names_; }
  bool is_list() const { return std::holds_alternative<List*>(target_); }
  bool is_text() const {
    return std::holds_alternative<std::string*>(target_) || std::holds_alternative<Named>(target_);
  }
  // What it takes, in words: "an integer of at least 1", "one of: adamw8bit, adamw".
  std::string expected() const;

  // From one scalar as written (a list then holds one element). where: "file:line:column: section.name" or
  // "command line: section.name", the head of the UserError for a wrong type or a value outside the limits.
  void set(std::string_view text, const std::string& where);
  void set_list(List items, const std::string& where);
  // The same limits for the value held now.
  void check(const std::string& where) const;

  Value value() const;
  const Value& initial() const { return initial_; }  // held when declared: the default

 private:
  template <class E>
  static std::string read_name(const void* place) {
    return std::string(name_of(*static_cast<const E*>(place)));
  }
  template <class E>
  static void write_name(void* place, std::string_view name) {
    *static_cast<E*>(place) = value_named<E>(name).value();
  }

  void assign(Value value, const std::string& where);
  bool allows(const Value& value) const;
  bool in_limits(double x) const;
  std::string found(const Value& value) const;

  std::string name_, help_, zero_word_;
  Target target_;
  Value initial_;
  double min_ = -std::numeric_limits<double>::infinity();
  double max_ = std::numeric_limits<double>::infinity();
  bool min_excluded_ = false, max_excluded_ = false, in_f32_ = false;
  std::vector<std::string> choices_, other_names_, former_names_;
  std::vector<std::pair<std::string, std::string>> other_words_, former_words_;
};

// A value as YAML on one line: 8, 0.0006, true, cosine, "a text", [a, b]. Reads back to the same bits.
std::string to_yaml(const Field::Value& value);

// The settings of one section, in order of declaration. Holds pointers into the config struct: it must not
// outlive or move away from that struct.
class Fields {
 public:
  template <class T>
  Field& add(std::string name, T& value, std::string help) {
    if constexpr (NamedEnum<T>)
      return fields_.emplace_back(std::move(name), value, std::move(help));
    else
      return fields_.emplace_back(std::move(name), Field::Target(&value), std::move(help));
  }

  // Says why there is no setting of a name that other programs have.
  void absent(std::vector<std::string> names, const std::string& why);

  // By its name, or a former one.
  Field* find(std::string_view name);
  // What to use in place of a setting of another program: "training.recompute", or why there is none. "" if
  // unknown.
  std::string counterpart(std::string_view other_name, const std::string& section) const;
  // Throws the UserError of the first field that holds a value outside its limits.
  void check(const std::string& section) const;

  auto begin() { return fields_.begin(); }
  auto end() { return fields_.end(); }
  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }

 private:
  std::vector<Field> fields_;
  std::vector<std::pair<std::string, std::string>> absent_;
};

}  // namespace moe
