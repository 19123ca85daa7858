// SPDX-License-Identifier: MIT
// A place in the endless stream of training tokens. Small, complete (no other state is needed to go on from
// it) and independent of threads and batch shape; the checkpoint keeps it as JSON.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>

namespace moe {

struct Cursor {
  // The token at which the next row starts: it was the last target of the row before.
  int64_t epoch = 0;
  int64_t window = 0;    // in the epoch
  int64_t document = 0;  // in the window, in the order in which its documents are taken
  int64_t token = 0;     // in the document; 0 is the end-of-text token in front of it

  // Counters, for people: they do not steer anything.
  int64_t documents = 0;  // finished so far
  int64_t tokens = 0;     // targets given so far

  bool operator==(const Cursor&) const = default;
};

void to_json(nlohmann::json& json, const Cursor& cursor);
// Throws UserError when a field is missing, negative or not an integer.
void from_json(const nlohmann::json& json, Cursor& cursor);

}  // namespace moe
