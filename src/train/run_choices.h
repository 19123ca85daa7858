// SPDX-License-Identifier: MIT
// The values of those settings of sections "training" and "distributed" that have choices, and their names.
#pragma once

#include <cstdint>

#include "base/choices.h"
#include "base/error.h"
#include "model/recompute.h"
#include "ops/adamw_order.h"
#include "optim/schedule.h"
#include "tensor/device_kind.h"

namespace moe::train {

enum class OptimizerKind : uint8_t { adamw8bit, adamw };
constexpr auto choices_of(OptimizerKind) {
  return choices<OptimizerKind>({{OptimizerKind::adamw8bit, "adamw8bit"}, {OptimizerKind::adamw, "adamw"}});
}

enum class MixedPrecision : uint8_t { no, tf32, bf16, fp16 };  // no: f32
constexpr auto choices_of(MixedPrecision) {
  return choices<MixedPrecision>({{MixedPrecision::no, "no"},
                                  {MixedPrecision::tf32, "tf32"},
                                  {MixedPrecision::bf16, "bf16"},
                                  {MixedPrecision::fp16, "fp16"}});
}

// Of master weights and of gradients.
enum class StoredType : uint8_t { fp32, bf16 };
constexpr auto choices_of(StoredType) {
  return choices<StoredType>({{StoredType::fp32, "fp32"}, {StoredType::bf16, "bf16"}});
}

enum class OnNan : uint8_t { stop, skip };
constexpr auto choices_of(OnNan) {
  return choices<OnNan>({{OnNan::stop, "stop"}, {OnNan::skip, "skip"}});
}
// Behind a step whose loss or gradient is not finite.
constexpr bool goes_on(OnNan on_nan) {
  switch (on_nan) {
    case OnNan::stop:
      return false;
    case OnNan::skip:
      return true;
  }
  CHECK(false, "training.on_nan without a meaning");
}

enum class ParallelLayout : uint8_t { automatic, data_parallel, zero1, expert };
constexpr auto choices_of(ParallelLayout) {
  return choices<ParallelLayout>({{ParallelLayout::automatic, "auto"},
                                  {ParallelLayout::data_parallel, "data_parallel"},
                                  {ParallelLayout::zero1, "zero1"},
                                  {ParallelLayout::expert, "expert"}});
}

enum class BalanceScope : uint8_t {
  rank,   // each micro-batch of a rank
  global  // the whole step
};
constexpr auto choices_of(BalanceScope) {
  return choices<BalanceScope>({{BalanceScope::rank, "rank"}, {BalanceScope::global, "global"}});
}

enum class CapacityScope : uint8_t {
  rank,  // each micro-batch of a rank
  row    // each row of it
};
constexpr auto choices_of(CapacityScope) {
  return choices<CapacityScope>({{CapacityScope::rank, "rank"}, {CapacityScope::row, "row"}});
}

}  // namespace moe::train
