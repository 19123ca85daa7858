// SPDX-License-Identifier: MIT
// Both AdamW steps against bitsandbytes' CUDA kernels, PyTorch's optimizer and a numpy writing of the 8-bit
// format (tools/make_adamw8_goldens.py), and the corners that goldens do not reach.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "base/error.h"
#include "ops/adamw8_maps.h"
#include "ops/quantise8.h"
#include "support/adam.h"
#include "support/compare.h"
#include "support/golden.h"
#include "support/sha256.h"

namespace moe::test {
namespace {

constexpr size_t kSteps = 5, kSize = 589;

// Moments differ by a few roundings: (3e-7)^2. A movement of 0.01 of weights around 1 is known to their last
// bit, a step at a time: (6e-8 / 0.01)^2, and some.
constexpr double kMoments = 1e-13, kMovement = 1e-10;

class AdamW8Test : public OpsTest {
 public:
  Golden golden{"adamw8.safetensors"};

  // Step `t` (from 0) of a golden trajectory.
  std::vector<double> at(const std::string& name, size_t t) {
    const auto all = golden.values(*this, name);
    const size_t width = all.size() / kSteps;
    return {all.begin() + static_cast<long>(t * width), all.begin() + static_cast<long>((t + 1) * width)};
  }
  std::vector<double> moved(const std::vector<double>& weight) {
    auto difference = golden.values(*this, "weight");
    for (size_t i = 0; i < difference.size(); ++i) difference[i] = weight[i] - difference[i];
    return difference;
  }
  // Fused multiply-adds and the kernels' fast division may move a last bit, and so one code in thousands by
  // one.
  void expect_codes(const Tensor& codes, const std::vector<double>& expected) {
    const auto got = values(codes);
    int different = 0;
    ASSERT_EQ(got.size(), expected.size());
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_LE(std::abs(got[i] - expected[i]), 1) << i;
      different += got[i] == expected[i] ? 0 : 1;
    }
    EXPECT_LE(different, 1);
  }
  // inf and NaN in the gradients included.
  void expect_trajectory(AdamW::Order order, const std::string& name) {
    Adam adam(*this, kSize);
    adam.weight = golden.tensor(*this, "weight");
    for (size_t t = 0; t < kSteps; ++t) {
      SCOPED_TRACE(name + std::to_string(t));
      set(adam.gradient, at("gradient", t));
      adam.step8(*this, options_at(static_cast<int64_t>(t) + 1, order));
      expect_codes(adam.code_m, at(name + "code_m", t));
      expect_codes(adam.code_v, at(name + "code_v", t));
      EXPECT_TRUE(close(values(adam.absmax_m), at(name + "absmax_m", t), kMoments));
      EXPECT_TRUE(close(values(adam.absmax_v), at(name + "absmax_v", t), kMoments));
      EXPECT_TRUE(close(moved(values(adam.weight)), moved(at(name + "weight", t)), kMovement));
    }
  }
};

TEST_F(AdamW8Test, MapsAreThoseOfBitsandbytesToTheBit) {
  EXPECT_EQ(sha256(adamw8::kSigned), "e732639a65f497b4ad684bb166a4467708255edd5207757de8b8f0c7e1fda89c");
  EXPECT_EQ(sha256(adamw8::kUnsigned), "305f002cc11278fb769d13b25b9fd0c7c83c8402c40a878fe086f4039fde6398");
  const auto same = [&](const adamw8::Map& map, const std::string& name) {
    return golden.values(*this, name) == std::vector<double>(map.begin(), map.end());
  };
  EXPECT_TRUE(same(adamw8::kSigned, "map.signed"));
  EXPECT_TRUE(same(adamw8::kUnsigned, "map.unsigned"));
}

// On the GPU negative m have a table of their own.
TEST_F(AdamW8Test, TheTableOfNegativeNumbersHasTheirCodes) {
  constexpr auto complement = adamw8::Quantiser::complement_of_negative(adamw8::kSigned);
  const auto check = [&](float x) {
    ASSERT_EQ(255 - complement(x), adamw8::code_signed(adamw8::kQuantiseSigned, x)) << x;
  };
  for (size_t i = 127; i < 255; ++i) {
    const float middle = -(adamw8::kSigned[i] + adamw8::kSigned[i + 1]) * 0.5F;
    for (const float x :
         {std::nextafter(middle, -1.0F), middle, std::nextafter(middle, 0.0F), -adamw8::kSigned[i]})
      check(x);
  }
  check(-1.0F);
  check(-0.0F);
  const Random random(9, "negative");
  for (uint64_t i = 0; i < 100000; ++i) check(-std::exp2(-30 * random.uniform(i)));
}

// Around every boundary between two codes: the nearest value, ties to the even code, and no negative to zero.
TEST_F(AdamW8Test, QuantisesToTheNearestCode) {
  const auto check = [](const adamw8::Map& map, bool with_sign, float x) {
    const int code = with_sign ? adamw8::code_signed(adamw8::kQuantiseSigned, x)
                               : adamw8::code_unsigned(adamw8::kQuantiseUnsigned, x);
    const auto distance = [&](int c) {
      return std::abs(static_cast<double>(map[static_cast<size_t>(c)]) - static_cast<double>(x));
    };
    if (with_sign && x < 0) {
      ASSERT_LT(code, 127) << x;
      if (code == 126) return;  // perhaps moved there from 127
    }
    for (const int other : {code - 1, code + 1}) {
      if (other < 0 || other > 255) continue;
      // The boundary is the f32 sum of two values, halved: within an ulp of the exact middle.
      ASSERT_LE(distance(code), distance(other) + 1.2e-7 * std::abs(static_cast<double>(x)))
          << x << " as " << code;
      const float middle = (map[static_cast<size_t>(code)] + map[static_cast<size_t>(other)]) * 0.5F;
      if (x == middle) {
        ASSERT_EQ(code % 2, 0) << x;
      }
    }
  };
  for (const bool with_sign : {false, true}) {
    const adamw8::Map& map = with_sign ? adamw8::kSigned : adamw8::kUnsigned;
    for (size_t i = 0; i + 1 < map.size(); ++i) {
      const float middle = (map[i] + map[i + 1]) * 0.5F;
      for (const float x :
           {std::nextafter(middle, -1.0F), middle, std::nextafter(middle, 1.0F), map[i], map[i + 1]})
        check(map, with_sign, x);
    }
    const Random random(9, "quantise");
    for (uint64_t i = 0; i < 100000; ++i) {
      const float x = std::exp2(-30 * random.uniform(2 * i)) * (with_sign && i % 2 ? -1.0F : 1.0F);
      check(map, with_sign, x);
    }
  }
}

TEST_F(AdamW8Test, BothOrdersFollowTheFormat) {
  expect_trajectory(AdamW::Order::pytorch, "pytorch.");
  expect_trajectory(AdamW::Order::bitsandbytes, "bitsandbytes.");
}

TEST_F(AdamW8Test, BitsandbytesOrderIsThatOfItsCudaKernel) {
  expect_trajectory(AdamW::Order::bitsandbytes, "cuda8.");
}

TEST_F(AdamW8Test, F32StatesFollowTorchAndBitsandbytes) {
  for (const auto order : {AdamW::Order::pytorch, AdamW::Order::bitsandbytes}) {
    const std::string name = order == AdamW::Order::pytorch ? "torch." : "cuda32.";
    Adam adam(*this, kSize);
    adam.weight = golden.tensor(*this, "weight");
    for (size_t t = 0; t < kSteps; ++t) {
      auto gradient = at("gradient", t);  // these goldens were made with zeros for inf and NaN
      for (double& g : gradient) g = std::isfinite(g) ? g : 0;
      set(adam.gradient, gradient);
      adam.step32(*this, options_at(static_cast<int64_t>(t) + 1, order));
      EXPECT_TRUE(close(values(adam.m), at(name + "m", t), kMoments)) << name << t;
      EXPECT_TRUE(close(values(adam.v), at(name + "v", t), kMoments)) << name << t;
      EXPECT_TRUE(close(moved(values(adam.weight)), moved(at(name + "weight", t)), kMovement)) << name << t;
    }
  }
}

TEST_F(AdamW8Test, ComputeIsTheRoundedWeightAndTheGradientStays) {
  for (const int64_t n : {1, 7, 33, 255, 256, 257, 20000})
    for (const bool eight : {true, false}) {
      Adam adam(*this, n);
      const auto gradient = bytes(adam.gradient);
      eight ? adam.step8(*this, options_at(1, AdamW::Order::pytorch))
            : adam.step32(*this, options_at(1, AdamW::Order::pytorch));
      const Tensor rounded = zeros(DType::bf16, {n});
      ops().cast(rounded, adam.weight);
      EXPECT_EQ(bytes(adam.compute), bytes(rounded));
      EXPECT_EQ(bytes(adam.gradient), gradient);
    }
}

TEST_F(AdamW8Test, ScaleMultipliesTheGradientAndNegativeSkipsTheStep) {
  for (const bool eight : {true, false}) {
    const auto step = [&](Adam& adam) {
      eight ? adam.step8(*this, options_at(3, AdamW::Order::pytorch))
            : adam.step32(*this, options_at(3, AdamW::Order::pytorch));
    };
    Adam scaled(*this, 300), small(*this, 300);
    set(scaled.scale, std::vector<float>{0.25F});
    auto gradient = values(small.gradient);
    for (double& g : gradient) g *= 0.25;
    set(small.gradient, gradient);
    step(scaled);
    step(small);
    for (size_t i = 0; i < scaled.all().size(); ++i) {
      if (i != 2) {  // the gradient itself
        EXPECT_EQ(bytes(scaled.all()[i]), bytes(small.all()[i])) << i;
      }
    }

    Adam skipped = scaled;
    set(skipped.scale, std::vector<float>{-1});
    set(skipped.gradient, gradient);
    std::vector<std::vector<uint8_t>> before;
    for (const Tensor& tensor : skipped.all()) before.push_back(bytes(tensor));
    step(skipped);
    for (size_t i = 0; i < before.size(); ++i) EXPECT_EQ(bytes(skipped.all()[i]), before[i]) << i;
  }
}

TEST_F(AdamW8Test, BlocksWithoutGradientHaveTheCodesOfNothing) {
  Adam adam(*this, 300);
  ops().fill(adam.gradient, 0);
  const auto before = bytes(adam.weight);
  AdamW options = options_at(1, AdamW::Order::bitsandbytes);
  options.weight_decay = 0;
  adam.step8(*this, options);
  EXPECT_EQ(values(adam.code_m), std::vector<double>(300, 255.0));
  EXPECT_EQ(values(adam.code_v), std::vector<double>(300, 0.0));
  EXPECT_EQ(values(adam.absmax_m), std::vector<double>(2));
  EXPECT_EQ(bytes(adam.weight), before);
}

TEST_F(AdamW8Test, AGradientThatIsNotFiniteClearsItsMomentsAndLeavesItsWeight) {
  for (const bool eight : {true, false}) {
    Adam adam(*this, 300);
    const auto step = [&](int64_t t) {
      eight ? adam.step8(*this, options_at(t, AdamW::Order::pytorch))
            : adam.step32(*this, options_at(t, AdamW::Order::pytorch));
    };
    step(1);
    const auto before = values(adam.weight);
    std::vector<float> gradient(300, 0.5F);
    gradient[3] = std::numeric_limits<float>::quiet_NaN();
    gradient[299] = -std::numeric_limits<float>::infinity();
    set(adam.gradient, gradient);
    step(2);
    const auto after = values(adam.weight);
    for (size_t i = 0; i < 300; ++i) EXPECT_EQ(after[i] == before[i], i == 3 || i == 299) << i;
    if (eight) {
      EXPECT_EQ(values(adam.code_m)[3], 127);
      EXPECT_EQ(values(adam.code_v)[299], 0);
    } else {
      EXPECT_EQ(values(adam.m)[3], 0);
      EXPECT_EQ(values(adam.v)[299], 0);
    }
  }
}

TEST_F(AdamW8Test, SameBitsWithAnyNumberOfThreads) {
  for (const bool eight : {true, false})
    expect_same_bits([eight](Machine& machine) {
      Adam adam(machine, 100001);
      eight ? adam.step8(machine, options_at(1, AdamW::Order::bitsandbytes))
            : adam.step32(machine, options_at(1, AdamW::Order::bitsandbytes));
      return adam.all();
    });
}

TEST_F(AdamW8Test, RefusesWrongShapesAndTypes) {
  const auto refused = [&](auto change, bool eight, bool also32) {
    Adam adam(*this, 300);
    AdamW options = options_at(1, AdamW::Order::pytorch);
    change(adam, options);
    if (eight) {
      EXPECT_THROW(adam.step8(*this, options), InternalError);
    }
    if (also32) {
      EXPECT_THROW(adam.step32(*this, options), InternalError);
    }
  };
  refused([&](Adam& a, AdamW&) { a.weight = zeros(DType::f64, {300}); }, true, true);
  refused([&](Adam& a, AdamW&) { a.weight = zeros(DType::bf16, {300}); }, true, true);  // it has a copy
  refused([&](Adam&, AdamW& o) { o.first = 255; }, true, true);
  refused([&](Adam& a, AdamW&) { a.gradient = zeros(DType::f32, {299}); }, true, true);
  refused([&](Adam& a, AdamW&) { a.compute = zeros(DType::f32, {300}); }, true, true);
  refused([&](Adam& a, AdamW&) { a.scale = zeros(DType::f32, {2}); }, true, true);
  refused([&](Adam&, AdamW& o) { o.step = 0; }, true, true);
  refused([&](Adam& a, AdamW&) { a.code_m = zeros(DType::f32, {300}); }, true, false);
  refused([&](Adam& a, AdamW&) { a.code_v = zeros(DType::u8, {301}); }, true, false);
  refused([&](Adam& a, AdamW&) { a.absmax_m = zeros(DType::f32, {1}); }, true, false);
  refused([&](Adam& a, AdamW&) { a.absmax_v = zeros(DType::f32, {3}); }, true, false);
  refused([&](Adam& a, AdamW&) { a.m = zeros(DType::f32, {301}); }, false, true);
}

}  // namespace
}  // namespace moe::test
