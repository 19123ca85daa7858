// SPDX-License-Identifier: MIT
// What the facts of a machine mean for training: a line for each, what its lack costs, and the command that
// brings it. Knows no hardware: the facts are given.
#pragma once

#include <string>
#include <vector>

#include "base/choices.h"
#include "doctor/machine.h"

namespace moe::doctor {

// unused: it is not there, and nothing here lacks it.
enum class Status : uint8_t { ok, missing, too_old, low, unused };
constexpr auto choices_of(Status) {
  return choices<Status>({{Status::ok, "ok"},
                          {Status::missing, "missing"},
                          {Status::too_old, "too old"},
                          {Status::low, "low"},
                          {Status::unused, "-"}});
}

struct Check {
  std::string name, found;
  Status status = Status::ok;
  std::string costs = {}, brings = {};  // for what is not ok: the price, and what to do; "": nothing
};

struct Diagnosis {
  std::vector<Check> checks;
  std::string trains_on;  // "gpu", "cpu"; "": training does not start here
  std::string verdict;    // the last line
};

Diagnosis diagnose(const Machine& machine);

// For people.
std::string text_of(const Machine& machine, const Diagnosis& diagnosis);
// For tools: {"program", "trains_on", "verdict", "checks": [{"name", "status", "found", "costs", "brings"}],
// "machine": {...}}.
std::string json_of(const Machine& machine, const Diagnosis& diagnosis);

}  // namespace moe::doctor
