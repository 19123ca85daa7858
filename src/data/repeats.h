// SPDX-License-Identifier: MIT
// Files that are read more than once: by two places of data.source, through links, as copies; or for training
// and for validation, whose loss then says little.
#pragma once

#include "base/terminal.h"
#include "data/source.h"

namespace moe::data {

// Warns, naming two files for each kind. Files are the same when their bytes are (DataFile::identity). Looks
// at files of equal size only, and at no more than a few thousand. validation: null without text of its own.
void warn_of_repeats(const Source& training, const Source* validation, Terminal& terminal);

}  // namespace moe::data
