// SPDX-License-Identifier: MIT
// CombineRows with the RMSNorm beside it, in one pass over the tokens where a device has one. Their bodies in
// ops/combine_norm.cpp are made of the two: the specification. Letters, types and what holds for every op:
// ops/ops.h.
#pragma once

#include "ops/experts.h"
#include "ops/norm.h"

namespace moe {

// combine, then the norm of what it wrote: norm.x is combine.y.
struct CombineNormForward {
  static constexpr const char* name = "combine_norm_forward";
  static constexpr const char* phase = "combine";
  CombineRows combine;
  RmsNormForward norm;

  void check() const;
  double bytes() const;
};

// combine, then the norm's backward of it: norm.dy is combine.y, which need not be rounded between the two
// and is unspecified afterwards.
struct CombineNormBackward {
  static constexpr const char* name = "combine_norm_backward";
  static constexpr const char* phase = "combine";
  CombineRows combine;
  RmsNormBackward norm;

  void check() const;
  double bytes() const;
};

}  // namespace moe
