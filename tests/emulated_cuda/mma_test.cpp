// SPDX-License-Identifier: MIT
// The emulated matrix units and copies: the fragments of every layout give the right product, rows and
// columns past the limits are zero, and a copy that nobody waited for has not happened.
#include "gpu/mma.cuh"

#include <gtest/gtest.h>

#include "gpu/dynamic_shared.cuh"
#include "gpu/launch.h"
#include "gpu/portable/shared_tile.cuh"
#include "gpu/sm90/sm90.cuh"
#include "gpu/sm90/wgmma.cuh"
#include "gpu/tensor_map.h"
#include "support/compare.h"
#include "support/fixture.h"
#include "support/reference.h"

namespace moe::test {
namespace {

using gpu::Along;

constexpr int kOuter = 64, kInner = 32;  // of both operands
constexpr int kThreads = 128;            // to copy; then each warp computes the same

template <Along along>
constexpr int kWidth = along == Along::inner ? kInner : kOuter;

template <Along along, bool wide, class T>
void copy_operand(T* tile, const T* from, int outer, int inner) {
  if constexpr (along == Along::inner)
    gpu::copy_tile<kOuter, kInner, kThreads, wide>(tile, from, kInner, outer, inner);
  else
    gpu::copy_tile<kInner, kOuter, kThreads, wide>(tile, from, kOuter, inner, outer);
}

// c[64, 64] = a b^T over the inner index; only `m` rows, `n` columns and `inner` indices count.
template <Along a_along, Along b_along, bool wide, class T>
void product_kernel(float* c, const T* a, const T* b, int m, int n, int inner) {
  auto* const a_tile = gpu::dynamic_shared<T>();
  T* const b_tile = a_tile + kOuter * kInner;
  copy_operand<a_along, wide>(a_tile, a, m, inner);
  copy_operand<b_along, wide>(b_tile, b, n, inner);
  gpu::cp_async_commit();
  gpu::cp_async_wait<0>();
  __syncthreads();
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  for (int i = 0; i < kOuter; i += 16)
    for (int j = 0; j < kOuter; j += 16) {
      float sum[2][4] = {};
      for (int k = 0; k < kInner; k += 16) {
        uint32_t a_part[4], b_part[4];
        gpu::load_a<kWidth<a_along>, a_along>(a_part, a_tile, i, k);
        gpu::load_b<kWidth<b_along>, b_along>(b_part, b_tile, j, k);
        for (int half = 0; half < 2; ++half) gpu::mma_16x8x16<T>(sum[half], a_part, b_part + 2 * half);
      }
      for (int half = 0; half < 2; ++half)
        for (int e = 0; e < 4; ++e)
          c[(i + g + e / 2 * 8) * kOuter + j + 8 * half + 2 * t + e % 2] = sum[half][e];
    }
}

class MmaTest : public OpsTest {
 public:
  template <Along a_along, Along b_along, bool wide>
  void check() {
    check_type<gpu::bf16, a_along, b_along, wide>();
    check_type<gpu::f16, a_along, b_along, wide>();
  }
  template <class T, Along a_along, Along b_along, bool wide>
  void check_type() {
    constexpr size_t m = 40, n = 56, inner = 24;
    const auto shape = [](Along along) {
      return along == Along::inner ? std::vector<int64_t>{kOuter, kInner}
                                   : std::vector<int64_t>{kInner, kOuter};
    };
    const Tensor a = normal("a", gpu::kDType<T>, shape(a_along)),
                 b = normal("b", gpu::kDType<T>, shape(b_along));
    Tensor c = normal("old", DType::f32, {kOuter, kOuter});
    gpu::launch(nullptr, product_kernel<a_along, b_along, wide, T>,
                {1, kThreads, 2 * kOuter * kInner * sizeof(T)}, gpu::pointer<float>(c), gpu::pointer<T>(a),
                gpu::pointer<T>(b), int{m}, int{n}, int{inner});
    const Values part =
        reference_product(values(a), {size_t{kWidth<a_along>}, a_along == Along::outer}, values(b),
                          {size_t{kWidth<b_along>}, b_along == Along::inner}, m, n, inner);
    Values expected(kOuter * kOuter);
    for (size_t i = 0; i < m; ++i)
      for (size_t j = 0; j < n; ++j) expected[i * kOuter + j] = part[i * n + j];
    EXPECT_TRUE(close(values(c), expected, kBoundF32));
  }
};

TEST_F(MmaTest, ProductsOfAllLayouts) {
  check<Along::inner, Along::inner, true>();
  check<Along::inner, Along::outer, true>();
  check<Along::outer, Along::inner, true>();
  check<Along::outer, Along::outer, true>();
  check<Along::inner, Along::inner, false>();
  check<Along::outer, Along::outer, false>();
}

void copy_kernel(float* c, const float* x) {
  auto* const shared = gpu::dynamic_shared<float>();
  for (int i = 0; i < 4; ++i) shared[i] = -1;
  gpu::cp_async_16(shared, x, 8);
  gpu::cp_async_commit();
  gpu::cp_async_commit();
  gpu::cp_async_wait<2>();
  for (int i = 0; i < 4; ++i) c[i] = shared[i];
  gpu::cp_async_wait<1>();
  for (int i = 0; i < 4; ++i) c[4 + i] = shared[i];
}

TEST_F(MmaTest, CopiesHappenAtTheWait) {
  const Tensor x = of<float>(DType::f32, {4}, {1, 2, 3, 4});
  Tensor c = zeros(DType::f32, {8});
  gpu::launch(nullptr, copy_kernel, {1, 1, 16}, gpu::pointer<float>(c), gpu::pointer<float>(x));
  EXPECT_EQ(values(c), (Values{-1, -1, -1, -1, 1, 2, 0, 0}));
}

// One stage of FP8 as the experts' kernels have it: lines of 128 bytes, copied as bf16 of half as many
// columns, four pieces of 32 numbers each. c = a b^T of 64 x 128 numbers each; the last columns are past the
// matrices' end.
void fp8_product_kernel(float* c, const CUtensorMap* a_map, const CUtensorMap* b_map) {
  auto* const a = gpu::dynamic_shared<unsigned char>();
  unsigned char* const b = a + 64 * 128;
  if (threadIdx.x == 0) {
    gpu::Barrier barrier;
    gpu::barrier_init(&barrier, 1);
    gpu::tma_load(a, a_map, &barrier, 0, 0);
    gpu::tma_load(b, b_map, &barrier, 0, 0);
  }
  __syncthreads();
  float sum[32];
  for (int piece = 0; piece < 4; ++piece)
    gpu::wgmma<e4m3, 0, 0>(sum, gpu::rows_descriptor(a, piece), gpu::rows_descriptor(b, piece), piece > 0);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  for (int j = 0; j < 8; ++j)
    for (int e = 0; e < 4; ++e)
      c[(thread / 32 * 16 + lane / 4 + e / 2 * 8) * 64 + j * 8 + lane % 4 * 2 + e % 2] = sum[j * 4 + e];
}

TEST_F(MmaTest, StagesOfFp8HoldTwiceTheNumbers) {
  constexpr int64_t lines = 64, inner = 112;
  const Tensor a = of(DType::e4m3, {lines, inner}, values(normal("a", DType::f32, {lines, inner}))),
               b = of(DType::e4m3, {lines, inner}, values(normal("b", DType::f32, {lines, inner})));
  const auto map = [](const Tensor& t) {
    return gpu::tensor_map(DType::bf16, t.data(), lines, inner / 2, static_cast<int>(lines));
  };
  const CUtensorMap a_map = map(a), b_map = map(b);
  Tensor c = zeros(DType::f32, {lines, lines});
  gpu::launch(nullptr, fp8_product_kernel, {1, 128, 2 * lines * 128}, gpu::pointer<float>(c), &a_map, &b_map);
  EXPECT_TRUE(close(values(c),
                    reference_product(values(a), {inner}, values(b), {inner, true}, lines, lines, inner),
                    1e-11));
}

}  // namespace
}  // namespace moe::test
