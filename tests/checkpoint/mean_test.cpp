// SPDX-License-Identifier: MIT
// The mean of checkpoints against long double, which is 64 bits of mantissa here, and what cannot be
// averaged.
#include "checkpoint/mean.h"

#include <gmock/gmock.h>

#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "support/errors.h"
#include "support/folder.h"

namespace moe::checkpoint {
namespace {

using test::user_error_of;
using ::testing::AllOf;
using ::testing::HasSubstr;

static_assert(std::numeric_limits<long double>::digits >= 64);

template <class T>
TensorStream stream(const std::string& name, const std::vector<int64_t>& shape,
                    const std::vector<T>& values) {
  return {name, dtype_of<T>, shape,
          [values](const TensorStream::Sink& sink) { sink(values.data(), values.size() * sizeof(T)); }};
}

template <class T>
std::vector<T> collect(const TensorStream& stream) {
  std::string bytes;
  stream.write([&](const void* data, size_t size) { bytes.append(static_cast<const char*>(data), size); });
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

class MeanTest : public ::testing::Test {
 protected:
  const Safetensors& file(const std::string& name, const std::vector<TensorStream>& tensors) {
    write_safetensors(folder_.path() / name, tensors);
    files_.push_back(std::make_unique<Safetensors>(folder_.path() / name));
    return *files_.back();
  }
  // Of two files with one tensor each.
  std::string refusal(const TensorStream& one, const TensorStream& other) {
    const Safetensors &a = file("a", {one}), &b = file("b", {other});
    return user_error_of([&] {
      for (const auto& mean : mean_streams({{"a", &a}, {"b", &b}})) mean.write([](const void*, size_t) {});
    });
  }

  test::TestFolder folder_;
  std::vector<std::unique_ptr<Safetensors>> files_;
};

// The bf16 next to x, by trying both neighbours.
uint16_t nearest_by_trial(double x) {
  const auto value = [](uint16_t bits) {
    return static_cast<long double>(std::bit_cast<float>(uint32_t{bits} << 16));
  };
  // Bits of the same sign ascend with the size.
  auto low = static_cast<uint16_t>(std::signbit(x) ? 0x8000 : 0), high = static_cast<uint16_t>(low | 0x7f7f);
  const auto size = static_cast<long double>(std::abs(x));
  while (high - low > 1) {
    const auto middle = static_cast<uint16_t>((low + high) / 2);
    (std::abs(value(middle)) <= size ? low : high) = middle;
  }
  const long double down = size - std::abs(value(low)), up = std::abs(value(high)) - size;
  if (down != up) return down < up ? low : high;
  return low % 2 == 0 ? low : high;
}

TEST(NearestBf16, RoundsOnce) {
  // By way of f32 this would be a tie, and 1.
  EXPECT_EQ(static_cast<float>(nearest_bf16(1 + 0x1p-8 + 0x1p-40)), 1 + 0x1p-7F);
  EXPECT_EQ(static_cast<float>(nearest_bf16(1 + 0x1p-8)), 1.0F);
  EXPECT_EQ(static_cast<float>(nearest_bf16(1 + 0x3p-8 - 0x1p-40)), 1 + 0x1p-7F);
  std::mt19937_64 random(1);
  for (int i = 0; i < 20000; ++i) {
    // A bf16, half of the way to the next, and a little that f32 cannot hold or nothing.
    const auto bits = static_cast<uint16_t>(random() % 0x7f00 | (random() % 2) << 15);
    const double a = std::bit_cast<float>(uint32_t{bits} << 16);
    const double b = std::bit_cast<float>((uint32_t{bits} + 1) << 16);
    const double x = (a + b) / 2 * (1 + static_cast<double>(static_cast<int>(random() % 3) - 1) * 0x1p-45);
    ASSERT_EQ(nearest_bf16(x).bits, nearest_by_trial(x)) << x;
  }
}

TEST_F(MeanTest, OfF32IsThatOfLongDouble) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> values(3);
  for (auto& one : values)
    for (int i = 0; i < 100'003; ++i) one.push_back(normal(random));  // more than one piece
  std::vector<MeanPart> parts;
  const double weights[] = {1, 2.5, 0.25};
  for (size_t i = 0; i < 3; ++i)
    parts.push_back({"x", &file(std::to_string(i), {stream("w", {100'003}, values[i])}), weights[i]});
  const auto means = mean_streams(parts);
  ASSERT_EQ(means.size(), 1U);
  EXPECT_EQ(means[0].shape, std::vector<int64_t>{100'003});
  const std::vector<float> found = collect<float>(means[0]);
  ASSERT_EQ(found.size(), values[0].size());
  int64_t other = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    long double sum = 0;
    for (size_t k = 0; k < 3; ++k)
      sum += static_cast<long double>(weights[k]) * static_cast<long double>(values[k][i]);
    const auto expected = static_cast<float>(sum / 3.75L);
    ASSERT_LE(std::abs(found[i] - expected), std::abs(std::nextafter(expected, 9.0F) - expected)) << i;
    other += found[i] != expected ? 1 : 0;
  }
  EXPECT_LE(other, 1);  // f64's error of 2^-52 crosses a middle between two f32 once in 2^28
}

TEST_F(MeanTest, OfBf16AndOfOneWeightAlone) {
  const std::vector<bf16> one{bf16(1.0F), bf16(-3.0F), bf16(0x1p-130F)},
      two{bf16(2.0F), bf16(3.0F), bf16(0.0F)};
  const Safetensors &a = file("a", {stream("w", {3}, one)}), &b = file("b", {stream("w", {3}, two)});
  const auto mean = [&](double first, double second) {
    std::vector<float> floats;
    for (const bf16 value : collect<bf16>(mean_streams({{"a", &a, first}, {"b", &b, second}})[0]))
      floats.push_back(static_cast<float>(value));
    return floats;
  };
  EXPECT_EQ(mean(1, 1), (std::vector<float>{1.5F, 0.0F, 0x1p-131F}));
  EXPECT_EQ(mean(0, 7), (std::vector<float>{2.0F, 3.0F, 0.0F}));
  EXPECT_EQ(mean(2, -1), (std::vector<float>{0.0F, -9.0F, 0x1p-129F}));
}

TEST_F(MeanTest, WhatDiffersIsNamed) {
  const std::vector<float> four{1, 2, 3, 4};
  EXPECT_THAT(refusal(stream("w", {4}, four), stream("w", {2, 2}, four)),
              AllOf(HasSubstr("b: tensor w: expected F32 [4], as in a"), HasSubstr("F32 [2, 2]")));
  EXPECT_THAT(refusal(stream("w", {4}, four), stream("v", {4}, four)), HasSubstr("v beside them"));
  EXPECT_THAT(refusal(stream("w", {2}, std::vector<float>(2)), stream("w", {2}, std::vector<bf16>(2))),
              AllOf(HasSubstr("expected F32 [2]"), HasSubstr("BF16 [2]")));
  EXPECT_THAT(refusal(stream("w", {1}, std::vector<double>(1)), stream("w", {1}, std::vector<double>(1))),
              HasSubstr("F32 or BF16"));
  EXPECT_THAT(refusal(stream("w", {4}, four), stream("w", {4}, std::vector<float>{1, 2, NAN, 4})),
              AllOf(HasSubstr("b: tensor w"), HasSubstr("NaN at element 2")));
  const float large = std::numeric_limits<float>::max();
  const Safetensors &a = file("a", {stream("w", {1}, std::vector<float>{large})}),
                    &b = file("b", {stream("w", {1}, std::vector<float>{-large})});
  EXPECT_THAT(user_error_of([&] {
                collect<float>(mean_streams({{"a", &a, 2}, {"b", &b, -1}})[0]);
              }),
              AllOf(HasSubstr("the mean of a"), HasSubstr("infinity")));
}

}  // namespace
}  // namespace moe::checkpoint
