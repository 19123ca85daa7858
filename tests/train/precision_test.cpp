// SPDX-License-Identifier: MIT
// What training.mixed_precision auto becomes, and that nothing is computed while it is open.
#include "train/precision.h"

#include <gtest/gtest.h>

#include <string>

#include "support/errors.h"
#include "train/state.h"

namespace moe::train {
namespace {

TEST(Precision, AutoIsBf16WhereItsProductsAreFast) {
  TrainingConfig fast, slow;
  fast.mixed_precision = slow.mixed_precision = MixedPrecision::automatic;
  EXPECT_EQ(settle_precision(fast, true, "AMX multiplies bf16"), "bf16, of auto: AMX multiplies bf16");
  EXPECT_EQ(fast.mixed_precision, MixedPrecision::bf16);
  EXPECT_EQ(settle_precision(slow, false, "AVX2 does not multiply bf16"),
            "no, of auto: AVX2 does not multiply bf16");
  EXPECT_EQ(slow.mixed_precision, MixedPrecision::no);
}

TEST(Precision, ANamedOneStays) {
  for (const auto& choice : choices_of(MixedPrecision::no)) {
    if (choice.value == MixedPrecision::automatic) continue;
    for (const bool fast : {false, true}) {
      TrainingConfig training;
      training.mixed_precision = choice.value;
      EXPECT_EQ(settle_precision(training, fast, "why"), "");
      EXPECT_EQ(training.mixed_precision, choice.value);
    }
  }
}

TEST(Precision, NothingIsComputedInAuto) {
  TrainingConfig training;
  training.mixed_precision = MixedPrecision::automatic;
  EXPECT_THROW(arithmetic(training), InternalError);
  EXPECT_THROW(loss_scale(training), InternalError);
  EXPECT_THROW(weight_types(training), InternalError);
}

// On every machine alike: whether a file of settings is taken does not depend on the processor.
TEST(Precision, StoredBf16NeedsItByName) {
  RunConfig config;
  config.training.mixed_precision = MixedPrecision::automatic;
  config.training.master_weights = StoredType::bf16;
  EXPECT_EQ(
      test::user_error_of([&] { config.validate(); }),
      "training.master_weights: expected fp32 when training.mixed_precision is neither bf16 nor fp8, found "
      "bf16. Hint: set training.mixed_precision to bf16, or this to fp32");
}

}  // namespace
}  // namespace moe::train
