// SPDX-License-Identifier: MIT
// Which files of a folder, or of a repository on the hub, are its data.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace moe::data {

// README.md, LICENSE and their kin; dataset_infos.json and others that describe a data set.
bool is_card(std::string_view name);

// Of names that differ in nothing but the word for a split (train, validation, test and their synonyms) and
// in numbers, those of other splits than train, where there is one: train-00000-of-00002.parquet leaves
// test-00000-of-00001.parquet out. For each name, whether it is left out. Names are paths below one folder.
std::vector<bool> other_splits(const std::vector<std::string>& names);

}  // namespace moe::data
