// SPDX-License-Identifier: MIT
// The most wanted curves of runs as one PNG, for mails and README files.
#pragma once

#include <filesystem>
#include <vector>

#include "report/run_view.h"

namespace moe::report {

// 1600 points wide: figures of each run; loss, tokens per second, gradient norm, entropy of the experts'
// load; the load of each expert at the end of the first run. runs: at least one. smooth: of curves, from 0 to
// below 1 (report/series.h); as they were they are drawn faintly behind. UserError when the file cannot be
// written.
void write_picture(const std::filesystem::path& path, const std::vector<RunView>& runs, bool dark,
                   double smooth = 0);

}  // namespace moe::report
