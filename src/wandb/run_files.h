// SPDX-License-Identifier: MIT
// The folder of a run as Weights & Biases lays it out, and how a resumed run finds the one it had:
//   <folder>/wandb/offline-run-YYYYMMDD_HHMMSS-ID/run-ID.wandb       all there is: `wandb sync` uploads it
//                                                /files/config.yaml, wandb-summary.json, output.log
//                                                  for people
//                                                /logs/debug.log, debug-internal.log
//                                                  as wandb has them, empty
//   <folder>/wandb/latest-run -> that folder
// and <state>, a small JSON file of ours that names it.
#pragma once

#include <filesystem>
#include <string>

#include "wandb/config.h"

namespace moe::wandb {

struct RunFiles {
  std::string id;
  std::filesystem::path folder;
  bool existed = false;  // the run goes on in a folder that was there

  std::filesystem::path records() const { return folder / ("run-" + id + ".wandb"); }
  std::filesystem::path file(const std::string& name) const { return folder / "files" / name; }

  // resumed: go on in the folder that `state` names, if it is there and WANDB_RUN_ID does not name another
  // run; otherwise a new one is made. now: Unix time, for its name. UserError when nothing can be written
  // there.
  static RunFiles open(const Settings& settings, const std::filesystem::path& state, bool resumed,
                       double now);
};

}  // namespace moe::wandb
