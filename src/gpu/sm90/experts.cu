// SPDX-License-Identifier: MIT
// The experts' products with what comes before and after them: rows gathered by token, and the activation.
#include "gpu/sm90/experts.h"

#include <type_traits>
#include <vector>

#include "gpu/sigmoid.cuh"
#include "gpu/sm90/grouped_matmul.cuh"
#include "gpu/sm90/grouped_store.cuh"
#include "gpu/sm90/half_type.cuh"
#include "gpu/sm90/row_scales.cuh"

namespace moe::gpu {
namespace {

using grouped::Gathered;
using grouped::Tile;
using grouped::with_tile;

// Of a pair of T in a word.
template <class T>
__device__ __forceinline__ float lower(uint32_t pair) {
  if constexpr (std::is_same_v<T, f16>) return to_float(__ushort_as_half(static_cast<uint16_t>(pair)));
  return __uint_as_float(pair << 16);
}
template <class T>
__device__ __forceinline__ float upper(uint32_t pair) {
  if constexpr (std::is_same_v<T, f16>) return to_float(__ushort_as_half(static_cast<uint16_t>(pair >> 16)));
  return __uint_as_float(pair & 0xFFFF0000U);
}

// h = [gate | up] rounded, and a = gate * silu(up) of the rounded ones. Half of the tile's columns are gates,
// the other half the ups that belong to them: a thread has both.
template <class T, int kN, class Scales>
struct UpForward {
  static constexpr bool kHalves = true, kBeginsLate = Scales::kScaled;
  static constexpr int kPieces = 0, kStaging = 0;
  using Rows = typename Scales::template Held<kN>;
  T *h_R2F, *a_RF;
  int f;
  Scales scales;

  __device__ __forceinline__ Rows begin(const Tile& tile, int half) const {
    return scales.template begin<kN>(tile, half, [&](int i) {
      const int column = tile.column + i % (kN / 2);
      return column >= f ? 2 * f : i < kN / 2 ? column : f + column;
    });
  }
  __device__ __forceinline__ void finish() const {}
  __device__ __forceinline__ void store(const float (&sum)[kN / 2], const Rows& scale, const Tile& tile,
                                        int half, unsigned char*) const {
    constexpr int chunks = kN / 64;  // of each half
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = grouped::tile_row(half, i);
      T* const h = h_R2F + (tile.c_row + row) * 2 * f;
      T* const a = a_RF + (tile.c_row + row) * f;
#pragma unroll
      for (int g = 0; g < chunks; ++g) {
        const uint4 gate = rounded(sum, scale, i, g), up = rounded(sum, scale, i, g + chunks);
        const int column = tile.column + grouped::chunk_column(g);
        if (row >= tile.rows || column >= f) continue;
        const uint4 activation{activate(gate.x, up.x), activate(gate.y, up.y), activate(gate.z, up.z),
                               activate(gate.w, up.w)};
        store_16(h + column, gate);
        store_16(h + f + column, up);
        store_16(a + column, activation);
      }
    }
  }

 private:
  __device__ __forceinline__ static uint4 rounded(const float (&sum)[kN / 2], const Rows& scale, int i,
                                                  int g) {
    if constexpr (Scales::kScaled)
      return grouped::rounded_chunk<T>(sum, i, g, [&](uint32_t pair, int j) {
        return multiply_pairs(multiply_pairs(pair, scale.row(i)), scale.pair(j));
      });
    else
      return grouped::rounded_chunk<T>(sum, i, g);
  }
  __device__ __forceinline__ static uint32_t activate(uint32_t gates, uint32_t ups) {
    const float low = lower<T>(ups), high = upper<T>(ups);
    return pack<T>(lower<T>(gates) * low * sigmoid(low), upper<T>(gates) * high * sigmoid(high));
  }
};

// The sums are da; the activation's backward, and <da, a> of the row over each kPart columns: the same parts,
// and so the same bits, whatever the tile. dh may be h.
constexpr int kPart = 128;

// h comes into stages of the pipeline after the products' own: of 64 columns, gates where A was, ups where B
// was. dh takes its place there and a the place behind it (which tiles of 256 columns have), and TMA writes
// them out.
template <class T, class Scales>
struct DownBackward {
  static constexpr int kN = 256;
  static constexpr bool kHalves = false, kBeginsLate = Scales::kScaled;
  static constexpr int kPieces = kN / kLine, kStaging = 0;
  CUtensorMap h_map, dh_map, a_map;  // boxes of a tile's rows; of a warp's
  T *dh_R2F, *a_RF;
  float* partial_RT;  // T parts
  const float* weight_NK;
  const int32_t* slot_R;
  int f;
  Scales scales;

  // Of a thread's two rows.
  struct Rows {
    float weight[2], product[2];
    typename Scales::template Held<kN> scale;
  };
  __device__ __forceinline__ Rows begin(const Tile& tile, int half) const {
    Rows rows = {};
    rows.scale = scales.template begin<kN>(tile, half, [&](int i) { return tile.column + i; });
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = grouped::tile_row(half, i);
      if (row < tile.rows) rows.weight[i] = weight_NK[slot_R[tile.c_row + row]];
    }
    return rows;
  }

  __device__ __forceinline__ void copy_piece(grouped::Stage<kN>& stage, Barrier* full, const Tile& tile,
                                             int piece) const {
    const int column = tile.column + piece * kLine;
    barrier_arrive_expect(full, 2 * sizeof(stage.a));
    tma_load(stage.a, &h_map, full, column, tile.a_row);
    tma_load(stage.b, &h_map, full, f + column, tile.a_row);
  }

  __device__ __forceinline__ void finish() const {}
  template <int piece>
  __device__ __forceinline__ void store_piece(const float (&sum)[kN / 2], Rows& rows,
                                              grouped::Stage<kN>& stage, const Tile& tile, int half) const {
    const Lines lines{stage.a + half * grouped::kBox, stage.b + half * grouped::kBox,
                      stage.b + (2 + half) * grouped::kBox};
    const int column = tile.column + piece * kLine;
    // All loads before all stores, which they could not pass: so that they do not wait for each other.
    uint32_t gate[2][kPairs], up[2][kPairs];
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int j = 0; j < kPairs; ++j) {
        gate[i][j] = *word(lines.gate, i, j);
        up[i][j] = *word(lines.up, i, j);
      }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      uint32_t a[kPairs];
      const float w = rows.weight[i], da_w = w * row_scale(rows, i);
#pragma unroll
      for (int j = 0; j < kPairs; ++j) {
        const float2 da = scaled(sum + (piece * kPairs + j) * 4 + i * 2, rows, piece * kPairs + j);
        const float product = differentiate(gate[i][j], up[i][j], a[j], da, w, da_w);
        rows.product[i] += column + j * 8 < f ? product : 0.0F;
      }
#pragma unroll
      for (int j = 0; j < kPairs; ++j) {
        *word(lines.gate, i, j) = gate[i][j];
        *word(lines.up, i, j) = up[i][j];
        *word(lines.a, i, j) = a[j];
      }
      if ((piece + 1) * kLine % kPart == 0) {
        rows.product[i] *= row_scale(rows, i);
        store_product(rows.product[i], tile, half, i, column / kPart);
      }
    }
    fence_async_proxy();
    __syncwarp();
    write_out(lines, tile, half, column);
  }

 private:
  // 64 of each.
  struct Lines {
    unsigned char *gate, *up, *a;
  };

  // The thread's two neighbours of the j-th 8 columns of its i-th row, as TMA swizzles them.
  static constexpr int kPairs = kLine / 8;
  __device__ __forceinline__ static uint32_t* word(unsigned char* box, int i, int j) {
    const int line = grouped::tile_row(0, i);
    return reinterpret_cast<uint32_t*>(box + line * 128 + (line % 8 ^ j) * 16 + threadIdx.x % 4 * 4);
  }
  // da of two neighbours among the j-th 8 columns, but for the scale of its row.
  __device__ __forceinline__ static float2 scaled(const float* sum, const Rows& rows, int j) {
    if constexpr (Scales::kScaled) {
      const uint32_t pair = rows.scale.pair(j);
      return {sum[0] * lower<bf16>(pair), sum[1] * upper<bf16>(pair)};
    } else {
      return {sum[0], sum[1]};
    }
  }
  __device__ __forceinline__ static float row_scale(const Rows& rows, int i) {
    if constexpr (Scales::kScaled)
      return i == 0 ? lower<bf16>(rows.scale.rows) : upper<bf16>(rows.scale.rows);
    else
      return 1;
  }
  // Of two neighbours: h becomes dh, da_w being w, or w times what da lacks. Returns their part of <da, a>.
  __device__ __forceinline__ static float differentiate(uint32_t& gate, uint32_t& up, uint32_t& a,
                                                        const float2& both, float w, float da_w) {
    const float da[2] = {both.x, both.y}, gates[2] = {lower<T>(gate), upper<T>(gate)},
                ups[2] = {lower<T>(up), upper<T>(up)};
    float product = 0, new_a[2], dgate[2], dup[2];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const float x = gates[j], u = ups[j], g = da[j];
      const float s = sigmoid(u), silu = u * s;
      product += g * x * silu;
      new_a[j] = w * x * silu;
      dgate[j] = da_w * g * silu;
      dup[j] = da_w * g * x * (s + silu * (1.0F - s));
    }
    gate = pack<T>(dgate[0], dgate[1]);
    up = pack<T>(dup[0], dup[1]);
    a = pack<T>(new_a[0], new_a[1]);
    return product;
  }

  // Of the row's 4 lanes. All lanes of the warp call it.
  __device__ __forceinline__ void store_product(float& product, const Tile& tile, int half, int i,
                                                int part) const {
    product += __shfl_xor_sync(kAllLanes, product, 1);
    product += __shfl_xor_sync(kAllLanes, product, 2);
    const int row = grouped::tile_row(half, i), parts = (f + kPart - 1) / kPart;
    if (row < tile.rows && part < parts && threadIdx.x % 4 == 0)
      partial_RT[(tile.c_row + row) * parts + part] = product;
    product = 0;
  }

  // A warp's 16 lines; by TMA where all of their rows and columns are the tile's.
  __device__ __forceinline__ void write_out(const Lines& lines, const Tile& tile, int half,
                                            int column) const {
    const int warp = static_cast<int>(threadIdx.x) % kGroup / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const int begin = half * 64 + warp * 16, rows = tile.rows - begin, box = warp * 16 * 128;
    const int64_t first = tile.c_row + begin;
    if (rows >= 16 && column + kLine <= f) {
      if (lane != 0) return;
      const auto y = static_cast<int32_t>(first);
      tma_store(&dh_map, lines.gate + box, column, y);
      tma_store(&dh_map, lines.up + box, f + column, y);
      tma_store(&a_map, lines.a + box, column, y);
      tma_store_commit();
      return;
    }
    const int chunk = lane % 8;
    if (column + chunk * 8 >= f) return;
    for (int line = lane / 8; line < min(rows, 16); line += 4) {
      const int at = box + line * 128 + (line % 8 ^ chunk) * 16;
      const auto chunk_of = [&](const unsigned char* from) {
        return *reinterpret_cast<const uint4*>(from + at);
      };
      T* const dh = dh_R2F + (first + line) * 2 * f + column + chunk * 8;
      store_16(dh, chunk_of(lines.gate));
      store_16(dh + f, chunk_of(lines.up));
      store_16(a_RF + (first + line) * f + column + chunk * 8, chunk_of(lines.a));
    }
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
  const auto choices = static_cast<uint32_t>(rows / tokens.dim(0));
  return {.offset_E1 = pointer<int32_t>(plan.offset_E1),
          .m = 0,
          .n = 0,
          .inner = 0,
          .rows = static_cast<int>(rows),
          .experts = static_cast<int>(plan.count_E.numel()),
          .tokens = static_cast<const uint16_t*>(tokens.data()),
          .slot_R = pointer<int32_t>(plan.slot_R),
          .choices = static_cast<int>(choices),
          .width = static_cast<int>(tokens.dim(1)),
          .part = 0xFFFFFFFF / choices};
}

// T: of the operands, A of the rest. Rows of FP8 move as rows of half as many words of 16 bits.
template <class T, class A, class Scales>
void up(cudaStream_t stream, int num_sms, Tensor& h_R2F, Tensor& a_RF, const Tensor& x_ND,
        const Tensor& w_E2FD, grouped::Product p, const Scales& scales, Schedule schedule) {
  with_tile(schedule, p.n, [&]<int kN, Schedule known>() {
    const UpForward<A, kN, Scales> epilogue{pointer<A>(h_R2F), pointer<A>(a_RF), p.n / 2, scales};
    grouped::run<T, MatmulLayout::NT, kN, known, Gathered::a>(stream, num_sms, x_ND, w_E2FD, p, epilogue);
  });
}

// Op: ExpertDownBackward or that of FP8.
template <class T, class A, MatmulLayout layout, class Op, class Scales>
void down_backward(cudaStream_t stream, int num_sms, Op& op, const Tensor& dy_ND, const Tensor& w,
                   grouped::Product p, const Scales& scales, float* partial) {
  const auto map = [](const Tensor& t, int box_rows) {
    return tensor_map(t.dtype(), t.data(), t.dim(0), t.dim(1), box_rows);
  };
  const DownBackward<A, Scales> epilogue{map(op.h_R2F, grouped::kM),
                                         map(op.dh_R2F, 16),
                                         map(op.a_RF, 16),
                                         pointer<A>(op.dh_R2F),
                                         pointer<A>(op.a_RF),
                                         partial,
                                         pointer<float>(op.weight_NK),
                                         p.slot_R,
                                         p.n,
                                         scales};
  grouped::run<T, layout, DownBackward<A, Scales>::kN, Schedule::cooperative, Gathered::a>(
      stream, num_sms, dy_ND, w, p, epilogue);
  launch(stream, dweight_kernel, {blocks(ceil_div(p.rows, 256)), 256}, pointer<float>(op.dweight_NK), partial,
         pointer<int32_t>(op.plan.row_NK), p.rows, static_cast<int>(ceil_div(p.n, kPart)));
}

grouped::Product product_of(const RoutePlan& plan, const Tensor& tokens, int64_t columns) {
  grouped::Product p = product_of(plan, tokens);
  p.n = static_cast<int>(columns);
  p.inner = p.width;
  return p;
}

}  // namespace

Tensor sm90_words(const Tensor& fp8) {
  const int last = fp8.rank() - 1;
  CHECK(is_fp8(fp8.dtype()) && fp8.dim(last) % 16 == 0, fp8.describe());
  std::vector<int64_t> shape(fp8.shape(), fp8.shape() + fp8.rank());
  shape.back() /= 2;
  return {const_cast<void*>(fp8.data()), DType::bf16, shape.data(), fp8.rank()};
}

void sm90_expert_up(cudaStream_t stream, int num_sms, ExpertUp op, Schedule schedule) {
  const grouped::Product p = product_of(op.plan, op.x_ND, op.h_R2F.dim(1));
  with_half_type(op.x_ND.dtype(), [&]<class T>() {
    up<T, T>(stream, num_sms, op.h_R2F, op.a_RF, op.x_ND, op.w_E2FD, p, grouped::Unscaled{}, schedule);
  });
}

void sm90_fp8_expert_up(cudaStream_t stream, int num_sms, Fp8ExpertUp op, Schedule schedule) {
  const Tensor x = sm90_words(op.x_ND.value), w = sm90_words(op.w_E2FD.value);
  const grouped::Product p = product_of(op.plan, x, op.h_R2F.dim(1));
  const grouped::Scaled scales{p, pointer<float>(op.x_ND.scale), pointer<float>(op.w_E2FD.scale)};
  up<e4m3, bf16>(stream, num_sms, op.h_R2F, op.a_RF, x, w, p, scales, schedule);
}

int64_t expert_down_backward_partials(int64_t rows, int64_t f) {
  return rows * ceil_div(f, kPart);
}

void sm90_expert_down_backward(cudaStream_t stream, int num_sms, ExpertDownBackward op, float* partial) {
  const grouped::Product p = product_of(op.plan, op.dy_ND, op.a_RF.dim(1));
  with_half_type(op.dy_ND.dtype(), [&]<class T>() {
    down_backward<T, T, MatmulLayout::NN>(stream, num_sms, op, op.dy_ND, op.w_EDF, p, grouped::Unscaled{},
                                          partial);
  });
}

void sm90_fp8_expert_down_backward(cudaStream_t stream, int num_sms, Fp8ExpertDownBackward op,
                                   float* partial) {
  const Tensor dy = sm90_words(op.dy_ND.value), w = sm90_words(op.w_EFD.value);
  const grouped::Product p = product_of(op.plan, dy, op.a_RF.dim(1));
  const grouped::Scaled scales{p, pointer<float>(op.dy_ND.scale), pointer<float>(op.w_EFD.scale)};
  down_backward<e4m3, bf16, MatmulLayout::NT>(stream, num_sms, op, dy, w, p, scales, partial);
}

void sm90_expert_down_gradient(cudaStream_t stream, int num_sms, ExpertDownGradient op, Schedule schedule) {
  with_half_type(op.dy_ND.dtype(), [&]<class T>() {
    grouped::gradient<T, Gathered::a>(stream, num_sms, op.dw_EDF, op.dy_ND, op.a_RF,
                                      product_of(op.plan, op.dy_ND), op.accumulate, schedule);
  });
}

void sm90_expert_up_gradient(cudaStream_t stream, int num_sms, ExpertUpGradient op, Schedule schedule) {
  with_half_type(op.x_ND.dtype(), [&]<class T>() {
    grouped::gradient<T, Gathered::b>(stream, num_sms, op.dw_E2FD, op.dh_R2F, op.x_ND,
                                      product_of(op.plan, op.x_ND), op.accumulate, schedule);
  });
}

}  // namespace moe::gpu
