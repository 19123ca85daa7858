// SPDX-License-Identifier: MIT
// The only file that calls nlohmann's parser (tools/check_layers.py). Values are built from its events: its
// own builders walk all siblings when an object ends (with a callback), or search them for each name
// (ordered_json).
#include "base/json.h"

#include <fmt/format.h>

#include <set>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/excerpt.h"

namespace moe {
namespace {

// nlohmann's words without their number, "[json.exception.parse_error.101] "; they end in the whole token
// that was read last, however long.
std::string reason(std::string_view words) {
  constexpr size_t kLine = 200;
  const size_t begin = words.find("] ");
  return excerpt(begin == std::string_view::npos ? words : words.substr(begin + 2), kLine);
}

template <class AnyJson>
std::string quoted(const AnyJson& value) {
  return excerpt(value.dump(-1, ' ', true, AnyJson::error_handler_t::replace));
}

// Counts the depth, so that nobody else must.
class Depth {
 public:
  explicit Depth(int most) : most_(most) {}
  bool open() { return ++depth_ <= most_; }
  void close() { --depth_; }
  std::string complaint() const {
    return fmt::format("more than {} objects and lists inside one another", most_);
  }

 private:
  int most_, depth_ = 0;
};

// A list of the outermost object whose elements are given away.
struct GivenList {
  std::string_view name;
  const std::function<void(size_t index, const Json& element)>& take;
  size_t given = 0;
};

// nlohmann's events as a value.
template <class AnyJson>
class Builder {
 public:
  Builder(AnyJson& root, const JsonLimits& limits, GivenList* list)
      : root_(root), depth_(limits.depth), list_(list) {}

  std::string error;

  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(int64_t value) { return put(value); }
  bool number_unsigned(uint64_t value) { return put(value); }
  bool number_float(double value, const std::string&) { return put(value); }
  bool string(std::string& value) { return put(std::move(value)); }
  bool binary(typename AnyJson::binary_t&) { return false; }  // not in text
  bool start_object(size_t) { return open(AnyJson::value_t::object); }
  bool start_array(size_t) { return open(AnyJson::value_t::array); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    if (list_ && open_.size() == 1) at_list_ = name == list_->name;
    auto& object = open_.back()->template get_ref<typename AnyJson::object_t&>();
    if constexpr (std::is_same_v<AnyJson, Json>) {
      const auto [place, fresh] = object.emplace(name, nullptr);
      if (!fresh) return twice(name);
      member_ = &place->second;
    } else {
      if (!names_.back().insert(name).second) return twice(name);
      using Pairs = std::vector<std::pair<const std::string, AnyJson>>;
      member_ = &static_cast<Pairs&>(object).emplace_back(name, nullptr).second;
    }
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::json::exception& words) {
    error = reason(words.what());
    return false;
  }

 private:
  template <class Value>
  AnyJson* place(Value&& value) {
    if (open_.empty()) return &(root_ = std::forward<Value>(value));
    if (open_.back()->is_array())
      return &open_.back()->template get_ref<typename AnyJson::array_t&>().emplace_back(
          std::forward<Value>(value));
    return &(*member_ = std::forward<Value>(value));
  }
  template <class Value>
  bool put(Value&& value) {
    place(std::forward<Value>(value));
    give();
    return true;
  }
  // Where an element of the list has just ended, it is the last one: the others are gone.
  void give() {
    if constexpr (std::is_same_v<AnyJson, Json>) {
      if (!at_list_ || open_.size() != 2 || !open_.back()->is_array()) return;
      auto& elements = open_.back()->template get_ref<Json::array_t&>();
      list_->take(list_->given++, elements.back());
      elements.pop_back();
    }
  }
  bool open(typename AnyJson::value_t kind) {
    if (!depth_.open()) {
      error = depth_.complaint();
      return false;
    }
    open_.push_back(place(AnyJson(kind)));
    if constexpr (!std::is_same_v<AnyJson, Json>) names_.emplace_back();
    return true;
  }
  bool close() {
    depth_.close();
    open_.pop_back();
    if constexpr (!std::is_same_v<AnyJson, Json>) names_.pop_back();
    give();
    return true;
  }
  bool twice(const std::string& name) {
    error = fmt::format("{} twice in one object", quote(Json(name)));
    return false;
  }

  AnyJson& root_;
  Depth depth_;
  GivenList* list_;                                        // or null
  bool at_list_ = false;                                   // the outermost object's last name is the list's
  std::vector<AnyJson*> open_;                             // from the outermost in
  std::vector<std::set<std::string, std::less<>>> names_;  // of each, where the object itself cannot tell
  AnyJson* member_ = nullptr;  // of the innermost object: the value that comes next
};

std::string too_long(std::string_view text, const JsonLimits& limits) {
  return text.size() <= limits.bytes ? "" : fmt::format("{} bytes, more than {}", text.size(), limits.bytes);
}

// What is wrong; "" for nothing.
template <class AnyJson>
std::string build(std::string_view text, const JsonLimits& limits, AnyJson& value,
                  GivenList* list = nullptr) {
  if (std::string complaint = too_long(text, limits); !complaint.empty()) return complaint;
  Builder<AnyJson> builder(value, limits, list);
  AnyJson::sax_parse(text.begin(), text.end(), &builder);
  return builder.error;
}

template <class AnyJson>
AnyJson parse(const std::string& where, std::string_view text, const std::string& hint,
              const JsonLimits& limits, GivenList* list = nullptr) {
  AnyJson value;
  const std::string complaint = build(text, limits, value, list);
  if (!complaint.empty()) throw UserError(where, "JSON", complaint, hint);
  return value;
}

template <class AnyJson>
std::optional<AnyJson> try_parse(std::string_view text, const JsonLimits& limits) {
  AnyJson value;
  if (!build(text, limits, value).empty()) return std::nullopt;
  return value;
}

}  // namespace

Json parse_json(const std::string& where, std::string_view text, const std::string& hint,
                const JsonLimits& limits) {
  return parse<Json>(where, text, hint, limits);
}

OrderedJson parse_ordered_json(const std::string& where, std::string_view text, const std::string& hint,
                               const JsonLimits& limits) {
  return parse<OrderedJson>(where, text, hint, limits);
}

Json parse_json_list(const std::string& where, std::string_view text, std::string_view list,
                     const std::function<void(size_t index, const Json& element)>& take,
                     const std::string& hint, const JsonLimits& limits) {
  GivenList given{list, take};
  return parse<Json>(where, text, hint, limits, &given);
}

std::optional<Json> try_parse_json(std::string_view text, const JsonLimits& limits) {
  return try_parse<Json>(text, limits);
}

std::optional<OrderedJson> try_parse_ordered_json(std::string_view text, const JsonLimits& limits) {
  return try_parse<OrderedJson>(text, limits);
}

std::string quote(const Json& value) {
  return quoted(value);
}

std::string quote(const OrderedJson& value) {
  return quoted(value);
}

JsonFields::JsonFields(std::string where, const Json& value, std::string hint)
    : where_(std::move(where)), value_(value), hint_(std::move(hint)) {
  if (!value_.is_object()) throw UserError(where_, "a JSON object", quote(value_), hint_);
}

void JsonFields::refuse(const std::string& name, const std::string& expected,
                        const std::string& found) const {
  throw UserError(fmt::format("{}: field \"{}\"", where_, name), expected, found, hint_);
}

bool JsonFields::has(const char* name) const {
  const auto found = value_.find(name);
  return found != value_.end() && !found->is_null();
}

const Json& JsonFields::at(const char* name) const {
  const auto found = value_.find(name);
  if (found == value_.end()) refuse(name, "a value", "none");
  return *found;
}

std::string JsonFields::text(const char* name) const {
  const Json& value = at(name);
  if (!value.is_string()) refuse(name, "text", quote(value));
  return value.get<std::string>();
}

bool JsonFields::flag(const char* name) const {
  const Json& value = at(name);
  if (!value.is_boolean()) refuse(name, "true or false", quote(value));
  return value.get<bool>();
}

double JsonFields::number(const char* name) const {
  const Json& value = at(name);
  if (!value.is_number()) refuse(name, "a number", quote(value));
  return value.get<double>();
}

int64_t JsonFields::whole(const char* name, int64_t least, int64_t most) const {
  const Json& value = at(name);
  const bool fits = value.is_number_integer() &&
                    (!value.is_number_unsigned() ||
                     value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()));
  if (!fits || value.get<int64_t>() < least || value.get<int64_t>() > most)
    refuse(name,
           most == std::numeric_limits<int64_t>::max()
               ? fmt::format("a whole number of at least {}", least)
               : fmt::format("a whole number from {} to {}", least, most),
           quote(value));
  return value.get<int64_t>();
}

const Json& JsonFields::list(const char* name) const {
  const Json& value = at(name);
  if (!value.is_array()) refuse(name, "a list", quote(value));
  return value;
}

JsonFields JsonFields::inside(const char* name) const {
  return {fmt::format("{}: {}", where_, name), at(name), hint_};
}

}  // namespace moe
