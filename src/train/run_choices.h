// SPDX-License-Identifier: MIT
// The values of those settings of sections "training" and "distributed" that have choices, and their names.
#pragma once

#include <cstdint>

#include "base/choices.h"
#include "base/error.h"
#include "model/recompute.h"
#include "ops/adamw_order.h"
#include "optim/optimizer_config.h"
#include "optim/schedule.h"
#include "tensor/device_kind.h"

namespace moe::train {

// muon: for the matrices of attention and experts; the rest has AdamW.
enum class OptimizerKind : uint8_t { adamw8bit, adamw, muon8bit, muon };
constexpr auto choices_of(OptimizerKind) {
  return choices<OptimizerKind>({{OptimizerKind::adamw8bit, "adamw8bit"},
                                 {OptimizerKind::adamw, "adamw"},
                                 {OptimizerKind::muon8bit, "muon8bit"},
                                 {OptimizerKind::muon, "muon"}});
}
constexpr bool eight_bit(OptimizerKind optimizer) {
  switch (optimizer) {
    case OptimizerKind::adamw8bit:
    case OptimizerKind::muon8bit:
      return true;
    case OptimizerKind::adamw:
    case OptimizerKind::muon:
      return false;
  }
  CHECK(false, "an optimizer without states");
}
constexpr bool has_muon(OptimizerKind optimizer) {
  switch (optimizer) {
    case OptimizerKind::adamw8bit:
    case OptimizerKind::adamw:
      return false;
    case OptimizerKind::muon8bit:
    case OptimizerKind::muon:
      return true;
  }
  CHECK(false, "an optimizer that is neither Muon nor not");
}

enum class MuonCoefficients : uint8_t { polar_express, quintic };
constexpr auto choices_of(MuonCoefficients) {
  return choices<MuonCoefficients>(
      {{MuonCoefficients::polar_express, "polar_express"}, {MuonCoefficients::quintic, "quintic"}});
}

enum class WeightDecayMode : uint8_t { plain, cautious };
constexpr auto choices_of(WeightDecayMode) {
  return choices<WeightDecayMode>(
      {{WeightDecayMode::plain, "plain"}, {WeightDecayMode::cautious, "cautious"}});
}
constexpr bool is_cautious(WeightDecayMode mode) {
  switch (mode) {
    case WeightDecayMode::plain:
      return false;
    case WeightDecayMode::cautious:
      return true;
  }
  CHECK(false, "a mode of weight decay without a meaning");
}

// no: f32. automatic: becomes no or bf16 by what the device multiplies fast (train/precision.h).
enum class MixedPrecision : uint8_t { automatic, no, tf32, bf16, fp16, fp8 };
constexpr auto choices_of(MixedPrecision) {
  return choices<MixedPrecision>({{MixedPrecision::automatic, "auto"},
                                  {MixedPrecision::no, "no"},
                                  {MixedPrecision::tf32, "tf32"},
                                  {MixedPrecision::bf16, "bf16"},
                                  {MixedPrecision::fp16, "fp16"},
                                  {MixedPrecision::fp8, "fp8"}});
}

// Of master weights and of gradients.
enum class StoredType : uint8_t { fp32, bf16 };
constexpr auto choices_of(StoredType) {
  return choices<StoredType>({{StoredType::fp32, "fp32"}, {StoredType::bf16, "bf16"}});
}

// What a run learns: a language, or to answer in it (docs/finetuning.md). It decides defaults alone.
enum class Stage : uint8_t { pretrain, sft };
constexpr auto choices_of(Stage) {
  return choices<Stage>({{Stage::pretrain, "pretrain"}, {Stage::sft, "sft"}});
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
  rank,          // each micro-batch of a rank
  global,        // the whole step
  previous_step  // the whole step, with the shares of first choices of the step before
};
constexpr auto choices_of(BalanceScope) {
  return choices<BalanceScope>({{BalanceScope::rank, "rank"},
                                {BalanceScope::global, "global"},
                                {BalanceScope::previous_step, "previous_step"}});
}
constexpr bool of_step(BalanceScope scope) {
  switch (scope) {
    case BalanceScope::rank:
      return false;
    case BalanceScope::global:
    case BalanceScope::previous_step:
      return true;
  }
  CHECK(false, "a scope of balance without a meaning");
}

enum class CapacityScope : uint8_t {
  rank,  // each micro-batch of a rank
  row    // each row of it
};
constexpr auto choices_of(CapacityScope) {
  return choices<CapacityScope>({{CapacityScope::rank, "rank"}, {CapacityScope::row, "row"}});
}

}  // namespace moe::train
