// SPDX-License-Identifier: MIT
#include "data/cursor.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"

namespace moe {
namespace {

// The one list of fields.
constexpr std::array<std::pair<const char*, int64_t Cursor::*>, 6> kFields{{{"epoch", &Cursor::epoch},
                                                                            {"window", &Cursor::window},
                                                                            {"document", &Cursor::document},
                                                                            {"token", &Cursor::token},
                                                                            {"documents", &Cursor::documents},
                                                                            {"tokens", &Cursor::tokens}}};

}  // namespace

void to_json(nlohmann::json& json, const Cursor& cursor) {
  json = nlohmann::json::object();
  for (const auto& [name, member] : kFields) json[name] = cursor.*member;
}

void from_json(const nlohmann::json& json, Cursor& cursor) {
  for (const auto& [name, member] : kFields) {
    const auto field = json.is_object() ? json.find(name) : json.end();
    const bool good =
        json.is_object() && field != json.end() && field->is_number_integer() && field->get<int64_t>() >= 0;
    if (!good)
      throw UserError("data cursor", fmt::format("a whole number in field \"{}\"", name), json.dump());
    cursor.*member = field->get<int64_t>();
  }
}

}  // namespace moe
