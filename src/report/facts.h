// SPDX-License-Identifier: MIT
// The figures of a run that a person asks for first, as words: the cards of the page and of the picture.
#pragma once

#include <string>
#include <vector>

#include "report/run_view.h"

namespace moe::report {

struct Fact {
  std::string label, value;
};

// Of the run as far as it has come: those that it has. Without a row only what its settings say.
std::vector<Fact> facts(const RunView& run);
// What a person sees of it before there are figures: "4 layers of 128, 8 experts of which 2 at a time".
// Empty where the settings are not known.
std::vector<Fact> outline(const RunView& run);

}  // namespace moe::report
