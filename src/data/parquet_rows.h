// SPDX-License-Identifier: MIT
// Whole rows of a Parquet file, for small ones that are read at once, such as the items of an evaluation.
// Texts to train on go through data/parquet.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/data_file.h"

namespace moe::data {

struct RowLimits {
  int64_t rows = int64_t{1} << 20, values = int64_t{1} << 24, bytes = int64_t{1} << 30;
};

// The first `limit` rows (0: all), each as a JSON object on one line, as a file of JSON lines would have it:
// texts, numbers, true and false, lists of these, structs. Only the columns of these names are read, with all
// that is in them (none named: all columns). What is null is left out, and so are columns of other types
// (lists of structs among them). Bytes of a text that are not UTF-8 become U+FFFD. Throws UserError for a
// damaged file, and for one that goes beyond `most`.
std::vector<std::string> parquet_rows(const DataFilePtr& file, const std::vector<std::string>& names = {},
                                      int64_t limit = 0, const RowLimits& most = {});

}  // namespace moe::data
