// SPDX-License-Identifier: MIT
// RMSNorm against PyTorch's, and its gradients against finite differences.
#include <gtest/gtest.h>

#include <cmath>
#include <utility>
#include <vector>

#include "base/error.h"
#include "support/compare.h"
#include "support/golden.h"
#include "support/gradcheck.h"

namespace moe::test {
namespace {

constexpr float kEps = 1e-5F;

class NormTest : public OpsTest {
 public:
  Tensor none;
};

TEST_F(NormTest, MatchesTorch) {
  const Golden golden("ops.safetensors", "norm.");
  for (const DType dtype : kActivations) {
    // In 16 bits the inputs are rounded too, which the derivative carries through: two roundings.
    const double bound = dtype == DType::f32 ? kBoundF32 : 2 * bound_of(dtype);
    const Tensor x = golden.tensor(*this, "x", dtype), y = zeros(dtype, {7, 33});
    const Tensor w = golden.tensor(*this, "w"), rstd = zeros(DType::f32, {7});
    ops().rms_norm_forward(y, rstd, x, w, kEps);
    EXPECT_TRUE(close(values(y), golden.values(*this, "y"), bound));
    const Tensor dx = zeros(dtype, {7, 33}), dw = zeros(DType::f32, {33});
    ops().rms_norm_backward(
        {dx, dw, golden.tensor(*this, "dy", dtype), golden.tensor(*this, "residual", dtype), x, w, rstd});
    EXPECT_TRUE(close(values(dx), golden.values(*this, "dx"), bound));
    EXPECT_TRUE(close(values(dw), golden.values(*this, "dw"), bound));
  }
}

TEST_F(NormTest, GradientsAgreeWithFiniteDifferences) {
  for (const int64_t n : {1, 7, 33}) {
    const int64_t d = 13;
    const Tensor x = normal("x", DType::f32, {n, d}), w = normal("w", DType::f32, {d});
    const Tensor y = zeros(DType::f32, {n, d}), rstd = zeros(DType::f32, {n}),
                 r = normal("r", DType::f32, {n, d});
    const Tensor dx = zeros(DType::f32, {n, d}), dw = zeros(DType::f32, {d});
    const auto scalar = [&] {
      ops().rms_norm_forward(y, rstd, x, w, kEps);
      return inner(*this, y, r);
    };
    scalar();
    ops().rms_norm_backward({dx, dw, r, none, x, w, rstd});
    EXPECT_TRUE(gradient_agrees(*this, dx, x, scalar));
    EXPECT_TRUE(gradient_agrees(*this, dw, w, scalar));
  }
}

TEST_F(NormTest, ResidualIsAddedAlsoInPlaceAndWeightGradientsAccumulate) {
  const Tensor x = normal("x", DType::f32, {5, 40}), w = normal("w", DType::f32, {40});
  const Tensor dy = normal("dy", DType::f32, {5, 40}), residual = normal("residual", DType::f32, {5, 40});
  const Tensor rstd = normal("rstd", DType::f32, {5}), dx = zeros(DType::f32, {5, 40});
  const Tensor dw = zeros(DType::f32, {40}), dw_twice = zeros(DType::f32, {40});
  ops().rms_norm_backward({dx, dw, dy, residual, x, w, rstd});
  const Tensor in_place = of(DType::f32, {5, 40}, values(residual));
  ops().rms_norm_backward({in_place, dw_twice, dy, in_place, x, w, rstd});
  EXPECT_EQ(bytes(in_place), bytes(dx));
  ops().rms_norm_backward({in_place, dw_twice, dy, none, x, w, rstd});
  auto twice = values(dw);
  for (double& value : twice) value *= 2;
  EXPECT_TRUE(close(values(dw_twice), twice, kBoundF32));
}

TEST_F(NormTest, RoundedTypesMatchF32OnTheSameInputs) {
  for (const DType half : kHalves)
    for (const int64_t n : {1, 33, 100}) {
      const int64_t d = 65;
      const Tensor x = normal("x", half, {n, d}), dy = normal("dy", half, {n, d});
      const Tensor w = normal("w", DType::f32, {d});
      std::vector<std::vector<double>> results;
      for (const DType dtype : {DType::f32, half}) {
        const Tensor y = zeros(dtype, {n, d}), dx = zeros(dtype, {n, d});
        const Tensor rstd = zeros(DType::f32, {n}), dw = zeros(DType::f32, {d});
        const Tensor input = of(dtype, {n, d}, values(x)), gradient = of(dtype, {n, d}, values(dy));
        ops().rms_norm_forward(y, rstd, input, w, kEps);
        ops().rms_norm_backward({dx, dw, gradient, none, input, w, rstd});
        for (const Tensor& result : {y, dx, rstd, dw}) results.push_back(values(result));
      }
      EXPECT_TRUE(close(results[4], results[0], bound_of(half)));
      EXPECT_TRUE(close(results[5], results[1], bound_of(half)));
      EXPECT_TRUE(close(results[6], results[2], kBoundF32));
      EXPECT_TRUE(close(results[7], results[3], kBoundF32));  // a GPU adds narrower types in another order
    }
}

// Of one piece, of several, and longer than any kernel holds in registers; more rows than a GPU has blocks.
TEST_F(NormTest, RowsOfAnyLengthMatchPlainSums) {
  for (const DType dtype : kActivations)
    for (const auto& [n, d] :
         {std::pair<int64_t, int64_t>{200, 8}, {40, 264}, {5, 1024}, {3, 2048}, {2, 8200}}) {
      const Tensor x = normal("x", dtype, {n, d}), dy = normal("dy", dtype, {n, d});
      const Tensor residual = normal("residual", dtype, {n, d}), w = normal("w", DType::f32, {d});
      const Tensor y = zeros(dtype, {n, d}), dx = zeros(dtype, {n, d});
      const Tensor rstd = zeros(DType::f32, {n}), dw = zeros(DType::f32, {d});
      ops().rms_norm_forward(y, rstd, x, w, kEps);
      ops().rms_norm_backward({dx, dw, dy, residual, x, w, rstd});
      const auto in = values(x), weight = values(w), g = values(dy), r = values(residual);
      std::vector<double> norm(in.size()), gradient(in.size()), sums(weight.size());
      const auto width = static_cast<size_t>(d);
      for (size_t begin = 0; begin < in.size(); begin += width) {
        double squares = 0, mean = 0;
        for (size_t c = 0; c < width; ++c) squares += in[begin + c] * in[begin + c];
        const double scale = 1 / std::sqrt(squares / static_cast<double>(d) + static_cast<double>(kEps));
        for (size_t c = 0; c < width; ++c) mean += g[begin + c] * weight[c] * in[begin + c] * scale;
        mean /= static_cast<double>(d);
        for (size_t c = 0; c < width; ++c) {
          const double normed = in[begin + c] * scale;
          norm[begin + c] = weight[c] * normed;
          gradient[begin + c] = r[begin + c] + scale * (g[begin + c] * weight[c] - normed * mean);
          sums[c] += g[begin + c] * normed;
        }
      }
      EXPECT_TRUE(close(values(y), norm, bound_of(dtype))) << d;
      EXPECT_TRUE(close(values(dx), gradient, bound_of(dtype))) << d;
      EXPECT_TRUE(close(values(dw), sums, kBoundF32)) << d;
    }
}

TEST_F(NormTest, SameBitsWithAnyNumberOfThreads) {
  expect_same_bits([this](Machine& machine) {
    const Tensor x = machine.normal("x", DType::bf16, {500, 70}), w = machine.normal("w", DType::f32, {70});
    const Tensor y = machine.zeros(DType::bf16, {500, 70}), rstd = machine.zeros(DType::f32, {500});
    const Tensor dx = machine.zeros(DType::bf16, {500, 70}), dw = machine.zeros(DType::f32, {70});
    machine.ops().rms_norm_forward(y, rstd, x, w, kEps);
    machine.ops().rms_norm_backward({dx, dw, y, none, x, w, rstd});
    return std::vector{y, rstd, dx, dw};
  });
}

TEST_F(NormTest, RefusesWrongShapesAndTypes) {
  const Tensor x = zeros(DType::f32, {3, 4}), w = zeros(DType::f32, {4}), rstd = zeros(DType::f32, {3});
  const Tensor wide = zeros(DType::f32, {3, 5}), half = zeros(DType::bf16, {3, 4});
  EXPECT_THROW(ops().rms_norm_forward(wide, rstd, x, w, kEps), InternalError);
  EXPECT_THROW(ops().rms_norm_forward(half, rstd, x, w, kEps), InternalError);
  EXPECT_THROW(ops().rms_norm_forward(x, w, x, w, kEps), InternalError);
  EXPECT_THROW(ops().rms_norm_forward(x, rstd, x, rstd, kEps), InternalError);
  EXPECT_THROW(ops().rms_norm_backward({x, w, wide, none, x, w, rstd}), InternalError);
  EXPECT_THROW(ops().rms_norm_backward({x, w, x, half, x, w, rstd}), InternalError);
  EXPECT_THROW(ops().rms_norm_backward({x, none, x, none, x, w, rstd}), InternalError);
}

}  // namespace
}  // namespace moe::test
