// SPDX-License-Identifier: MIT
// Several sources as one: the files of a folder, one after another; or a mixture, whose shares keep their
// order and their epochs to themselves (data/interleave.h).
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "data/remote.h"
#include "data/source.h"

namespace moe::data {

// One share, of all units. remote: what the parts are read through; null for local files.
std::shared_ptr<const Source> joined_source(std::vector<std::shared_ptr<const Source>> parts,
                                            std::shared_ptr<const Remote> remote = nullptr);

// A share for each part. Weights are above 0; they are taken to the millionth of their sum.
std::shared_ptr<const Source> weighted_source(
    const std::vector<std::pair<std::shared_ptr<const Source>, double>>& parts);

}  // namespace moe::data
