// SPDX-License-Identifier: MIT
// `moe plan --gpu`: a GPU by its name, or by what its data sheet says.
#pragma once

#include <string>

#include "train/step_time.h"

namespace moe::cli {

// text: a name that find_gpu() knows, in any case ("RTX 4090", "rtx4090", "4090"), or rates as
// "memory=24,tflops=165,bandwidth=1008" (GiB of memory, dense bf16 TFLOP/s, GB/s of memory), with link and
// network (GB/s of one GPU in one direction; default 32 and 3) and gpus (of a machine; default 8) after them
// where known. Of a GPU told by its memory alone the rates are 0. Throws UserError that names the known ones.
train::GpuRates parse_gpu(const std::string& text);

}  // namespace moe::cli
