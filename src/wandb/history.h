// SPDX-License-Identifier: MIT
// Values of a row as the JSON texts that Weights & Biases keeps of them.
#pragma once

#include <string>

#include "metrics/row.h"

namespace moe::wandb {

struct Entry {
  std::string key, json;
  bool number = false;  // one that can be drawn as a curve
};

// NaN and infinities are bare words, as Python writes them. A list is {"_type": "histogram", ...}; a list of
// lists is the histogram of its loads.
Entry to_entry(const std::string& name, const metrics::Row::Value& value);

std::string json_number(double value);
std::string json_string(const std::string& text);
std::string valid_utf8(const std::string& text);  // with U+FFFD in place of what is none

}  // namespace moe::wandb
