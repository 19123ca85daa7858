// SPDX-License-Identifier: MIT
// The page of `moe report`, `moe watch` and `moe compare`: one HTML file with everything in it
// (assets/report, Chart.js).
#pragma once

#include <string>
#include <vector>

#include "report/comparison.h"
#include "report/run_view.h"

namespace moe::report {

// {"runs": [...]}, as the page reads it.
std::string data_json(const std::vector<RunView>& runs);

// A file that works without a network and without a server.
// smooth: where its slider stands at first, from 0 to below 1 (report/series.h).
std::string page(const std::vector<RunView>& runs, double smooth = 0);
// The same with a comparison of them above.
std::string page(const std::vector<RunView>& runs, const Comparison& comparison);
// The same page, which asks its server for data.json every few seconds.
std::string live_page();

}  // namespace moe::report
