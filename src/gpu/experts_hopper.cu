// SPDX-License-Identifier: MIT
// The experts' products with what comes before and after them: rows gathered by token, and the activation.
#include "gpu/experts_hopper.h"

#include "gpu/grouped_matmul_hopper.cuh"
#include "gpu/grouped_store_hopper.cuh"
#include "gpu/sigmoid.cuh"

namespace moe::gpu {
namespace {

using grouped::Gathered;
using grouped::Tile;
using grouped::with_tile;

// h = [gate | up] rounded, and a = gate * silu(up) of the rounded ones. Half of the tile's columns are gates, the other
// half the ups that belong to them: a thread has both.
template <int kN>
struct UpForward {
  static constexpr bool kHalves = true;
  bf16 *h_R2F, *a_RF;
  int f;

  __device__ __forceinline__ void prefetch(const Tile&, int) const {}
  __device__ __forceinline__ void store(const float (&sum)[kN / 2], const Tile& tile, int half) const {
    constexpr int chunks = kN / 64;  // of each half
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = grouped::tile_row(half, i);
      bf16* const h = h_R2F + (tile.c_row + row) * 2 * f;
      bf16* const a = a_RF + (tile.c_row + row) * f;
#pragma unroll
      for (int g = 0; g < chunks; ++g) {
        const auto gate = grouped::rounded_chunk(sum, i, g), up = grouped::rounded_chunk(sum, i, g + chunks);
        const int column = tile.column + grouped::chunk_column(g);
        if (row >= tile.rows || column >= f) continue;
        Vec<bf16, 8> activation;
#pragma unroll
        for (int j = 0; j < 8; ++j) {
          const float u = to_float(up.v[j]);
          activation.v[j] = from_float<bf16>(to_float(gate.v[j]) * u * sigmoid(u));
        }
        gpu::store(h + column, gate);
        gpu::store(h + f + column, up);
        gpu::store(a + column, activation);
      }
    }
  }
};

// The sums are da; the activation's backward, and <da, a> of the row over each kPart columns: the same parts, and so the
// same bits, whatever the tile. dh may be h.
constexpr int kPart = 128;

template <int kN>
struct DownBackward {
  static constexpr bool kHalves = false;
  bf16 *dh_R2F, *a_RF;
  float* partial_RT;  // T parts
  const bf16* h_R2F;
  const float* weight_NK;
  const int32_t* slot_R;
  int f;

  // h comes from memory while the products are under way.
  __device__ __forceinline__ void prefetch(const Tile& tile, int half) const {
    constexpr int pieces = kN / 64, threads = kGroup;  // 128 bytes each
    for (int at = static_cast<int>(threadIdx.x) % threads; at < 64 * 2 * pieces; at += threads) {
      const int row = half * 64 + at / (2 * pieces), piece = at % (2 * pieces);
      const int column = tile.column + piece % pieces * 64;
      if (row < tile.rows && column < f)
        prefetch_global(h_R2F + (tile.c_row + row) * 2 * f + piece / pieces * f + column);
    }
  }

  struct H {
    Vec<bf16, 8> gate, up;
  };

  __device__ __forceinline__ void store(const float (&sum)[kN / 2], const Tile& tile, int half) const {
    constexpr int ahead = 2, chunks = kN / 32;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = grouped::tile_row(half, i);
      const int64_t r = tile.c_row + row;
      const float w = row < tile.rows ? weight_NK[slot_R[r]] : 0.0F;
      const auto inside = [&](int g) {
        return row < tile.rows && g < chunks && tile.column + grouped::chunk_column(g) < f;
      };
      const auto load_h = [&](int g) -> H {
        const bf16* const h = h_R2F + r * 2 * f + tile.column + grouped::chunk_column(g);
        return {load<8>(h), load<8>(h + f)};
      };
      H ring[ahead];
#pragma unroll
      for (int g = 0; g < ahead; ++g)
        if (inside(g)) ring[g] = load_h(g);
      float product = 0;
#pragma unroll
      for (int g = 0; g < chunks; ++g) {
        const Vec<float, 8> da = grouped::chunk(sum, i, g);
        if (inside(g)) {
          H h = ring[g % ahead];
          if (inside(g + ahead)) ring[g % ahead] = load_h(g + ahead);
          Vec<bf16, 8> a;
          product += differentiate(h, a, da, w);
          const int column = tile.column + grouped::chunk_column(g);
          gpu::store(dh_R2F + r * 2 * f + column, h.gate);
          gpu::store(dh_R2F + r * 2 * f + f + column, h.up);
          gpu::store(a_RF + r * f + column, a);
        }
        if ((g + 1) * 32 % kPart != 0) continue;
        product += __shfl_xor_sync(kAllLanes, product, 1);
        product += __shfl_xor_sync(kAllLanes, product, 2);
        const int part = (tile.column + g * 32) / kPart, parts = (f + kPart - 1) / kPart;
        if (row < tile.rows && part < parts && threadIdx.x % 4 == 0) partial_RT[r * parts + part] = product;
        product = 0;
      }
    }
  }

 private:
  // h becomes dh.
  __device__ __forceinline__ static float differentiate(H& h, Vec<bf16, 8>& a, const Vec<float, 8>& da,
                                                        float w) {
    float product = 0;
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const float x = to_float(h.gate.v[j]), u = to_float(h.up.v[j]), g = da.v[j];
      const float s = sigmoid(u), silu = u * s;
      product += g * x * silu;
      a.v[j] = from_float<bf16>(w * x * silu);
      h.gate.v[j] = from_float<bf16>(w * g * silu);
      h.up.v[j] = from_float<bf16>(w * g * x * (s + silu * (1.0F - s)));
    }
    return product;
  }
};

// dweight of each assignment: the sum of its row's parts, 0 where it has no row.
__global__ void __launch_bounds__(256) dweight_kernel(float* dweight_NK, const float* partial_RT,
                                                      const int32_t* row_NK, int assignments, int parts) {
  const int at = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (at >= assignments) return;
  const int row = row_NK[at];
  float sum = 0;
  if (row >= 0)
    for (int i = 0; i < parts; ++i) sum += partial_RT[int64_t{row} * parts + i];
  dweight_NK[at] = sum;
}

grouped::Product product_of(const RoutePlan& plan, const Tensor& tokens) {
  const int64_t rows = plan.slot_R.numel();
  return {.offset_E1 = pointer<int32_t>(plan.offset_E1),
          .m = 0,
          .n = 0,
          .inner = 0,
          .rows = static_cast<int>(rows),
          .experts = static_cast<int>(plan.count_E.numel()),
          .tokens = pointer<bf16>(tokens),
          .slot_R = pointer<int32_t>(plan.slot_R),
          .choices = static_cast<int>(rows / tokens.dim(0)),
          .width = static_cast<int>(tokens.dim(1))};
}

template <Gathered gathered, class C>
void gradient(cudaStream_t stream, int processors, Tensor& dw, const Tensor& a, const Tensor& b,
              grouped::Product p, bool accumulate, Schedule schedule) {
  p.m = static_cast<int>(a.dim(1));
  p.n = static_cast<int>(b.dim(1));
  with_tile(schedule, p.n, [&]<int kN, Schedule known>() {
    grouped::run<Form::TN, kN, known, gathered>(stream, processors, a, b, p,
                                                grouped::Store<kN, C>{pointer<C>(dw), p.n, accumulate});
  });
}

template <Gathered gathered>
void gradient(cudaStream_t stream, int processors, Tensor& dw, const Tensor& a, const Tensor& b,
              const grouped::Product& p, bool accumulate, Schedule schedule) {
  dw.dtype() == DType::f32 ? gradient<gathered, float>(stream, processors, dw, a, b, p, accumulate, schedule)
                           : gradient<gathered, bf16>(stream, processors, dw, a, b, p, accumulate, schedule);
}

}  // namespace

void hopper_expert_up(cudaStream_t stream, int processors, Tensor& h_R2F, Tensor& a_RF, const Tensor& x_ND,
                      const Tensor& w_E2FD, const RoutePlan& plan, Schedule schedule) {
  grouped::Product p = product_of(plan, x_ND);
  p.n = static_cast<int>(h_R2F.dim(1));
  p.inner = p.width;
  with_tile(schedule, p.n, [&]<int kN, Schedule known>() {
    const UpForward<kN> epilogue{pointer<bf16>(h_R2F), pointer<bf16>(a_RF), p.n / 2};
    grouped::run<Form::NT, kN, known, Gathered::a>(stream, processors, x_ND, w_E2FD, p, epilogue);
  });
}

int64_t expert_down_backward_partials(int64_t rows, int64_t f) {
  return rows * ceil_div(f, kPart);
}

void hopper_expert_down_backward(cudaStream_t stream, int processors, Tensor& dh_R2F, Tensor& a_RF,
                                 Tensor& dweight_NK, const Tensor& dy_ND, const Tensor& w_EDF,
                                 const Tensor& h_R2F, const Tensor& weight_NK, const RoutePlan& plan,
                                 float* partial, Schedule schedule) {
  grouped::Product p = product_of(plan, dy_ND);
  p.n = static_cast<int>(a_RF.dim(1));
  p.inner = p.width;
  with_tile(schedule, p.n, [&]<int kN, Schedule known>() {
    const DownBackward<kN> epilogue{pointer<bf16>(dh_R2F),
                                    pointer<bf16>(a_RF),
                                    partial,
                                    pointer<bf16>(h_R2F),
                                    pointer<float>(weight_NK),
                                    p.slot_R,
                                    p.n};
    grouped::run<Form::NN, kN, known, Gathered::a>(stream, processors, dy_ND, w_EDF, p, epilogue);
  });
  launch(stream, dweight_kernel, {blocks(ceil_div(p.rows, 256)), 256}, pointer<float>(dweight_NK), partial,
         pointer<int32_t>(plan.row_NK), p.rows, static_cast<int>(ceil_div(p.n, kPart)));
}

void hopper_expert_down_gradient(cudaStream_t stream, int processors, Tensor& dw_EDF, const Tensor& dy_ND,
                                 const Tensor& a_RF, const RoutePlan& plan, bool accumulate,
                                 Schedule schedule) {
  gradient<Gathered::a>(stream, processors, dw_EDF, dy_ND, a_RF, product_of(plan, dy_ND), accumulate,
                        schedule);
}

void hopper_expert_up_gradient(cudaStream_t stream, int processors, Tensor& dw_E2FD, const Tensor& dh_R2F,
                               const Tensor& x_ND, const RoutePlan& plan, bool accumulate,
                               Schedule schedule) {
  gradient<Gathered::b>(stream, processors, dw_E2FD, dh_R2F, x_ND, product_of(plan, x_ND), accumulate,
                        schedule);
}

}  // namespace moe::gpu
