// SPDX-License-Identifier: MIT
// A row of metrics.jsonl as metrics/jsonl.h writes it, read in one pass: a record of a million steps is
// hundreds of megabytes, and somebody waits for its curves. Knows only what nearly all rows are made of; the
// rest is for a JSON library (report/rows.cpp).
#pragma once

#include <string_view>

#include "metrics/row.h"

namespace moe::report {

// row: what this function made of the line before (names are compared with its), or empty. True: it is now
// the one that a JSON library would find in the line. False: the library has to look, and `row` holds
// anything: empty it.
bool scan_row(std::string_view line, metrics::Row& row);

}  // namespace moe::report
