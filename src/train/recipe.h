// SPDX-License-Identifier: MIT
// What published laws say of the settings of a run, from its parameters and tokens: for `moe plan --recipe`.
// Others fitted them, for AdamW with one learning rate for all tensors. None was measured here; they say
// where a search begins.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "train/run_config.h"

namespace moe::train {

struct Advice {
  std::string name, unit;      // unit: "" for a pure number
  double law = 0;              // what the law says
  std::optional<double> here;  // what the configuration has
  std::string formula, source;
};

struct Recipe {
  double tokens = 0;             // D
  double active = 0, total = 0;  // parameters without embedding and head
  std::vector<Advice> advice;
};

// tokens: of the whole run, more than 0. config: with its last step (RunConfig::set_last_step). Formulas,
// with N parameters, D tokens, B tokens in a step, E experts:
//   peak rate   1.79 N^-0.713 D^0.307, N without embeddings (Step Law, Li et al. 2025, arXiv 2503.04715), for
//               the active and for all parameters; exp(8.39 - 0.81 ln N - 0.25 ln E), N active (Ludziejewski
//               et al. 2025, arXiv 2502.05172)
//   batch       0.58 D^0.571 tokens (Step Law); a rate found at B is taken to B' by sqrt(B' / B) (Malladi et
//               al. 2022, arXiv 2205.10287)
//   decay       B / (rate decay D), AdamW's timescale as a share of the run (Wang & Aitchison 2024, arXiv
//               2405.13698), is best at 1.084 (D / N)^-0.527 (Bergsma et al. 2025, arXiv 2505.13738)
//   warm-up     2 / (1 - beta2) steps at least (Ma & Yarats 2021, arXiv 1910.04209)
Recipe recipe(const RunConfig& config, int ranks, double tokens);

}  // namespace moe::train
