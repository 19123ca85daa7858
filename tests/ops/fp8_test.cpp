// SPDX-License-Identifier: MIT
// FP8 operands and their products: bit by bit against the format's definition, and products against exact
// arithmetic, with outliers, rows of zeros and numbers that are not finite.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/fp8.h"
#include "support/compare.h"
#include "support/fixture.h"

namespace moe::test {
namespace {

constexpr size_t kEntries = static_cast<size_t>(Census::kEntries);

class Fp8Test : public OpsTest {
 public:
  ScaledRows rows_of(const Tensor& x, DType type, bool transposed = false) {
    std::vector<int64_t> shape(x.shape(), x.shape() + x.rank());
    if (transposed) std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
    const Tensor flat = zeros(type, {x.numel()}), scale = zeros(DType::f32, {x.numel() / shape.back()});
    return {Tensor(const_cast<void*>(flat.data()), type, shape.data(), x.rank()),
            Tensor(const_cast<void*>(scale.data()), DType::f32, shape.data(), x.rank() - 1),
            zeros(DType::i32, {static_cast<int64_t>(kEntries)})};
  }
  // What the numbers stand for.
  std::vector<double> values_of(const ScaledRows& q) {
    auto result = values(q.value);
    const auto scale = values(q.scale);
    for (size_t i = 0; i < result.size(); ++i) result[i] *= scale[i / (result.size() / scale.size())];
    return result;
  }
};

// Nearest of all numbers of the format, ties to the even code: from the list of them.
template <Fp8Format format>
void expect_nearest(float x) {
  const uint8_t bits = fp8_bits<format>(x);
  const double limit = static_cast<double>(fp8_value<format>(static_cast<uint8_t>(format.largest)));
  const double wanted = std::clamp(static_cast<double>(x), -limit, limit);
  double best = std::numeric_limits<double>::infinity();
  std::set<int> nearest;
  for (uint32_t code = 0; code < 256; ++code) {
    if ((code & 0x7fU) > format.largest || (code >> 7 != 0) != std::signbit(x)) continue;
    const double distance =
        std::abs(static_cast<double>(fp8_value<format>(static_cast<uint8_t>(code))) - wanted);
    if (distance < best) nearest.clear();
    best = std::min(best, distance);
    if (distance == best) nearest.insert(static_cast<int>(code));
  }
  EXPECT_TRUE(nearest.contains(bits)) << x << " became " << int{bits};
  if (nearest.size() == 2) {
    EXPECT_EQ(bits % 2, 0) << x;
  }
}

TEST(Fp8, EveryNumberIsTheNearestOne) {
  for (uint32_t i = 0; i < 1 << 16; i += 7) {
    const float x = std::bit_cast<float>(i << 16 | (i * 40503U & 0xffffU));
    if (!std::isfinite(x)) continue;
    expect_nearest<kE4M3>(x);
    expect_nearest<kE5M2>(x);
  }
  for (uint32_t code = 0; code < 256; ++code) {  // and comes back as it was, ties between them go to even
    const auto bits = static_cast<uint8_t>(code);
    if ((code & 0x7fU) <= kE4M3.largest) {
      EXPECT_EQ(fp8_bits<kE4M3>(fp8_value<kE4M3>(bits)), bits);
    }
    if ((code & 0x7fU) <= kE5M2.largest) {
      EXPECT_EQ(fp8_bits<kE5M2>(fp8_value<kE5M2>(bits)), bits);
    }
    if ((code & 0x7fU) >= kE4M3.largest) continue;
    expect_nearest<kE4M3>((fp8_value<kE4M3>(bits) + fp8_value<kE4M3>(static_cast<uint8_t>(code + 1))) / 2);
  }
  EXPECT_EQ(fp8_value<kE4M3>(0x7e), 448);
  EXPECT_EQ(fp8_value<kE5M2>(0x7b), 57344);
  EXPECT_EQ(fp8_bits<kE4M3>(std::numeric_limits<float>::infinity()), 0x7e);
  EXPECT_TRUE(std::isnan(fp8_value<kE4M3>(fp8_bits<kE4M3>(std::nanf("")))));
}

TEST(Fp8, ScalesAreTheLeastPowersOfTwoThatFit) {
  for (float largest = 0x1p-140F; largest < 0x1p126F; largest *= 1.37F) {
    const float scale = fp8_scale<kE4M3>(std::bit_cast<uint32_t>(largest));
    int exponent = 0;
    EXPECT_EQ(std::frexp(scale, &exponent), 0.5F);
    EXPECT_LE(largest, scale * 448);
    if (scale > 0x1p-126F) {
      EXPECT_GT(largest, scale / 2 * 448);
    }
    EXPECT_EQ(scale * fp8_inverse_scale(scale), 1);
  }
  EXPECT_EQ(fp8_scale<kE4M3>(std::bit_cast<uint32_t>(448.0F)), 1);
  EXPECT_EQ(fp8_scale<kE5M2>(std::bit_cast<uint32_t>(57344.0F)), 1);
  EXPECT_EQ(fp8_scale<kE4M3>(0), 1);
}

// The definition, for rows of an ordinary kind, of any width: pieces in registers, long rows, odd ones.
TEST_F(Fp8Test, RowsAndColumnsAreTheDefinition) {
  for (const DType type : kActivations)
    for (const DType to : {DType::e4m3, DType::e5m2})
      for (const auto& size :
           {std::pair<int64_t, int64_t>{5, 7}, {33, 64}, {70, 130}, {19, 1024}, {3, 3072}, {2, 8200}}) {
        const int64_t rows = size.first, columns = size.second;
        const Tensor x = normal("x", type, {rows, columns});
        const auto in = values(x);
        for (const bool transposed : {false, true}) {
          const ScaledRows q = rows_of(x, to, transposed);
          if (transposed)
            ops().quantise_columns({q, x});
          else
            ops().quantise_rows({q, x});
          const auto code = bytes(q.value);
          const auto scale = values(q.scale);
          const int64_t lines = transposed ? columns : rows, width = transposed ? rows : columns;
          int wrong = 0;
          for (int64_t r = 0; r < lines; ++r) {
            const auto at = [&](int64_t i) {
              return static_cast<float>(
                  in[static_cast<size_t>(transposed ? i * columns + r : r * columns + i)]);
            };
            float largest = 0;
            for (int64_t i = 0; i < width; ++i) largest = std::max(largest, std::fabs(at(i)));
            const uint32_t bits = std::bit_cast<uint32_t>(largest);
            const float wanted = to == DType::e4m3 ? fp8_scale<kE4M3>(bits) : fp8_scale<kE5M2>(bits);
            wrong += scale[static_cast<size_t>(r)] != static_cast<double>(wanted);
            for (int64_t i = 0; i < width; ++i) {
              const float scaled = at(i) / wanted;
              const uint8_t one = to == DType::e4m3 ? fp8_bits<kE4M3>(scaled) : fp8_bits<kE5M2>(scaled);
              wrong += code[static_cast<size_t>(r * width + i)] != one;
            }
          }
          EXPECT_EQ(wrong, 0) << x.describe() << " as " << q.value.describe();
        }
      }
}

TEST_F(Fp8Test, StacksOfMatricesAreTurnedOneByOne) {
  const Tensor x = normal("x", DType::bf16, {3, 40, 72});
  const ScaledRows all = rows_of(x, DType::e4m3, true);
  ops().quantise_columns({all, x});
  for (int64_t e = 0; e < 3; ++e) {
    const Tensor one = x.rows(e, e + 1).reshape({40, 72});
    const ScaledRows alone = rows_of(one, DType::e4m3, true);
    ops().quantise_columns({alone, one});
    EXPECT_EQ(bytes(all.value.rows(e, e + 1)), bytes(alone.value));
    EXPECT_EQ(bytes(all.scale.rows(e, e + 1)), bytes(alone.scale));
  }
}

// A row of zeros, one with an outlier beside which the rest vanishes, one that is not finite.
TEST_F(Fp8Test, TheCensusCountsWhatIsLost) {
  const int64_t rows = 48, columns = 64;
  std::vector<double> in(static_cast<size_t>(rows * columns), 0.25);
  std::fill_n(in.begin(), columns, 0.0);                                         // row 0
  std::fill_n(in.begin() + 16 * columns, columns, 0x1p-20), in[16 * 64] = -448;  // row 16
  in[32 * 64 + 5] = std::numeric_limits<double>::infinity();                     // row 32
  const Tensor x = of(DType::bf16, {rows, columns}, in);
  const auto expect_census = [&](const ScaledRows& q) {
    const auto census = values(q.census);
    EXPECT_EQ(static_cast<uint32_t>(census[static_cast<size_t>(Census::largest)]), 0x7f800000U);
    EXPECT_EQ(census[static_cast<size_t>(Census::nonzero)], 128);
    EXPECT_EQ(census[static_cast<size_t>(Census::flushed)], 63);
    EXPECT_EQ(census[static_cast<size_t>(Census::saturated)], 1);
  };
  const ScaledRows q = rows_of(x, DType::e4m3);
  ops().quantise_rows({q, x});
  expect_census(q);
  EXPECT_EQ(values(q.scale)[0], 1);
  EXPECT_EQ(values(q.scale)[16], 1);
  EXPECT_TRUE(std::isnan(values(q.scale)[32]));
  EXPECT_EQ(values(q.scale)[33], 0x1p-10);
  std::vector<double> turned(in.size());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      turned[static_cast<size_t>(c * rows + r)] = in[static_cast<size_t>(r * columns + c)];
  const Tensor x_turned = of(DType::bf16, {columns, rows}, turned);
  const ScaledRows by_columns = rows_of(x_turned, DType::e4m3, true);
  ops().quantise_columns({by_columns, x_turned});
  expect_census(by_columns);
  EXPECT_EQ(bytes(by_columns.value), bytes(q.value));
}

// c = a b^T + addend. Rounding of operands apart, the bound is that of any product; against the unrounded
// operands it is two roundings to 4 bits (7.0e-4 each of normal numbers, docs/fp8.md), outliers or not.
TEST_F(Fp8Test, ProductsAreExactOnTheirOperandsAndNearOnTheOriginals) {
  for (const DType type : {DType::e4m3, DType::e5m2})
    for (const DType to : {DType::bf16, DType::f32})
      for (const auto& size : {std::array<int64_t, 3>{64, 48, 32}, {80, 256, 1024}})
        for (const bool outliers : {false, true}) {
          const int64_t m = size[0], n = size[1], k = size[2];
          const auto input = [&](const std::string& name, int64_t rows) {
            auto x = values(normal(name, DType::bf16, {rows, k}));
            for (size_t i = 0; outliers && i < x.size(); ++i)
              if (i % static_cast<size_t>(k) == 3) x[i] *= 100;             // a channel
            for (int64_t i = 0; i < k; ++i) x[static_cast<size_t>(i)] = 0;  // a row
            return of(DType::bf16, {rows, k}, x);
          };
          const Tensor a = input("a", m), b = input("b", n), addend = normal("addend", to, {m, n});
          const ScaledRows qa = rows_of(a, type), qb = rows_of(b, DType::e4m3);
          ops().quantise_rows({qa, a});
          ops().quantise_rows({qb, b});
          const Tensor c = zeros(to, {m, n});
          ops().fp8_matmul({.c_MN = c, .a_MK = qa, .b_NK = qb});
          const auto product = [&](const std::vector<double>& x, const std::vector<double>& y) {
            std::vector<double> sums(static_cast<size_t>(m * n));
            for (int64_t i = 0; i < m; ++i)
              for (int64_t j = 0; j < n; ++j)
                for (int64_t l = 0; l < k; ++l)
                  sums[static_cast<size_t>(i * n + j)] +=
                      x[static_cast<size_t>(i * k + l)] * y[static_cast<size_t>(j * k + l)];
            return sums;
          };
          auto exact = product(values_of(qa), values_of(qb));
          EXPECT_TRUE(close(values(c), exact, to == DType::f32 ? 1e-6 : kBoundBf16));
          // With a channel of outliers a sum has one large term: few roundings, whose mean scatters more.
          const double spread = outliers ? 2 : 1.3;
          const double of_operand = type == DType::e4m3 ? 7.0e-4 : 2.8e-3;
          EXPECT_TRUE(close(values(c), product(values(a), values(b)), spread * (of_operand + 7.0e-4)));
          const Tensor sum = of(to, {m, n}, values(addend));
          ops().fp8_matmul({.c_MN = sum, .a_MK = qa, .b_NK = qb, .addend_MN = sum});
          const auto add = values(addend);
          for (size_t i = 0; i < exact.size(); ++i) exact[i] += add[i];
          EXPECT_TRUE(close(values(sum), exact, to == DType::f32 ? 1e-6 : kBoundBf16));
        }
}

TEST_F(Fp8Test, ARowThatIsNotFiniteMakesItsProductsNaN) {
  auto in = values(normal("a", DType::bf16, {32, 32}));
  in[5 * 32 + 1] = std::numeric_limits<double>::infinity();
  const Tensor a = of(DType::bf16, {32, 32}, in), b = normal("b", DType::bf16, {32, 32});
  const ScaledRows qa = rows_of(a, DType::e4m3), qb = rows_of(b, DType::e4m3);
  ops().quantise_rows({qa, a});
  ops().quantise_rows({qb, b});
  const Tensor c = zeros(DType::bf16, {32, 32});
  ops().fp8_matmul({.c_MN = c, .a_MK = qa, .b_NK = qb});
  const auto out = values(c);
  for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(std::isnan(out[i]), i / 32 == 5) << i;
}

// Norms and the loss quantise what they write, in the same pass: the same bits as afterwards.
TEST_F(Fp8Test, NormsQuantiseWhatTheyWrite) {
  for (const auto& [n, d] :
       {std::pair<int64_t, int64_t>{70, 64}, {35, 1024}, {20, 2048}, {5, 40}, {3, 9000}}) {
    const Tensor x = normal("x", DType::bf16, {n, d}), dy = normal("dy", DType::bf16, {n, d});
    const Tensor w = normal("w", DType::f32, {d}), y = zeros(DType::bf16, {n, d}),
                 dx = zeros(DType::bf16, {n, d});
    const Tensor rstd = zeros(DType::f32, {n}), dw = zeros(DType::f32, {d});
    const ScaledRows y8 = rows_of(y, DType::e4m3), dx8 = rows_of(dx, DType::e4m3);
    ops().rms_norm_forward({.y_ND = y, .rstd_N = rstd, .x_ND = x, .w_D = w, .eps = 1e-5F, .y8_ND = y8});
    ops().rms_norm_backward({.dx_ND = dx,
                             .dw_D = dw,
                             .dy_ND = dy,
                             .residual_ND = x,
                             .x_ND = x,
                             .w_D = w,
                             .rstd_N = rstd,
                             .dx8_ND = dx8});
    for (const auto& [q, from] : {std::pair{y8, y}, {dx8, dx}}) {
      const ScaledRows wanted = rows_of(from, DType::e4m3);
      ops().quantise_rows({wanted, from});
      EXPECT_EQ(bytes(q.value), bytes(wanted.value)) << d;
      EXPECT_EQ(bytes(q.scale), bytes(wanted.scale)) << d;
      EXPECT_EQ(bytes(q.census), bytes(wanted.census)) << d;
    }
  }
}

TEST_F(Fp8Test, TheLossQuantisesItsGradient) {
  for (const int64_t vocabulary : {41, 64, 4096}) {
    const int64_t n = 35, columns = (vocabulary + 15) / 16 * 16;
    const Tensor logits = normal("logits", DType::bf16, {n, columns});
    std::vector<int32_t> targets(static_cast<size_t>(n), 7);
    targets[3] = targets[16] = -1;
    const Tensor scale = of(DType::f32, {1}, std::vector<double>{0.013});
    const ScaledRows q = rows_of(logits, DType::e5m2);
    const Tensor losses = zeros(DType::f32, {n});
    ops().cross_entropy({.loss_N = losses,
                         .logits_NV = logits,
                         .target_N = of(DType::i32, {n}, targets),
                         .vocabulary = vocabulary,
                         .gradient_scale_1 = scale,
                         .gradient8_NV = q});
    const auto gradient = values(logits), scales = values(q.scale);
    const auto code = bytes(q.value);
    const float one = fp8_scale<kE5M2>(std::bit_cast<uint32_t>(0.013F));
    int wrong = 0;
    for (const double s : scales) wrong += s != static_cast<double>(one);
    for (size_t i = 0; i < code.size(); ++i)
      wrong += fp8_bits<kE5M2>(static_cast<float>(gradient[i]) / one) != code[i];
    EXPECT_EQ(wrong, 0) << vocabulary;
    const auto census = values(q.census);
    EXPECT_EQ(census[static_cast<size_t>(Census::nonzero)], 2 * vocabulary);
    EXPECT_EQ(census[static_cast<size_t>(Census::saturated)], 0);
  }
}

}  // namespace
}  // namespace moe::test
