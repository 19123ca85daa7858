// SPDX-License-Identifier: MIT
// The weighted mean of safetensors files of equal layout, as streams: for checkpoints merged in place of a
// decay of the learning rate (WSM, arXiv 2507.17634) and for model soups (Wortsman et al. 2022, arXiv
// 2203.05482).
#pragma once

#include <string>
#include <vector>

#include "base/bf16.h"
#include "checkpoint/safetensors.h"

namespace moe::checkpoint {

// One file of the mean.
struct MeanPart {
  std::string where;  // the file, for messages
  const Safetensors* file = nullptr;
  double weight = 1;
};

// A stream for each tensor: sum_i w_i x_i / sum_i w_i, computed in f64 and rounded once to the type of the
// files, F32 or BF16. A stream needs memory for one piece of a tensor. The files must outlive the streams.
// Throws UserError where names, types or shapes differ, and for another type. A stream throws UserError when
// a value of a file is not finite, or the mean is not.
std::vector<TensorStream> mean_streams(const std::vector<MeanPart>& parts);

// To the nearest, ties to even, in one rounding: by way of f32 there would be two.
bf16 nearest_bf16(double x);

}  // namespace moe::checkpoint
