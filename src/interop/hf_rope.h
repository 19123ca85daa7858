// SPDX-License-Identifier: MIT
// The rotary settings of config.json: rope_parameters of transformers 5, and rope_theta with rope_scaling of
// before.
#pragma once

#include "base/json.h"
#include "interop/family.h"
#include "model/config.h"

namespace moe::interop {

// Sets rope_* of config. Throws UserError for what moe has not (dynamic, longrope, truncate: false) and for
// two places that contradict each other.
void read_rope(const JsonFields& json, const Family& family, model::ModelConfig& config);

// Adds rope_parameters, and what readers older than transformers 5 look for.
void write_rope(OrderedJson& json, const Family& family, const model::ModelConfig& config);

}  // namespace moe::interop
