// SPDX-License-Identifier: MIT
// Muon. Elementwise ops go by blocks of 256 elements, cut where a row of a matrix ends. Products of all
// matrices of a stack are tasks of one loop, so that a stack of few large matrices and one of many small ones
// both use all threads.
#include <algorithm>
#include <cmath>

#include "cpu/adamw.h"
#include "cpu/cpu_ops.h"
#include "cpu/moment8.h"
#include "cpu/tiles.h"
#include "ops/muon_step.h"

namespace moe::cpu {
namespace {

constexpr int64_t kBlock = kAdamBlock;
constexpr int64_t kBlocks = 64;  // per chunk
static_assert(kBlock == StochasticRounding::kBlock);

// Calls body(at, packed, count) for the stretches of [begin, end) that lie in one row.
template <class Body>
void each_row_stretch(const MatrixStack& stack, int64_t begin, int64_t end, const Body& body) {
  while (begin < end) {
    const int64_t next = std::min(end, (begin / stack.cols + 1) * stack.cols);
    body(begin, stack.packed(begin), next - begin);
    begin = next;
  }
}

// With an empty tensor all are.
class Active {
 public:
  Active(const Tensor& active_B, const MatrixStack& stack)
      : active_(active_B.empty() ? nullptr : active_B.as<int32_t>()), elements_(stack.elements()) {}
  bool operator()(int64_t packed) const { return active_ == nullptr || active_[packed / elements_] != 0; }

 private:
  const int32_t* active_;
  int64_t elements_;
};

// A product for each matrix of a stack, c_b = op(a_b) op(b_b).
struct BatchedProduct {
  Product first;
  int64_t a_step = 0, b_step = 0, c_step = 0;  // bytes from one matrix to the next

  BatchedProduct(const Tensor& c, const Tensor& a, const Tensor& b, MatmulLayout layout) {
    const auto matrix = [](const Tensor& x) { return x.rows(0, 1).reshape({x.dim(1), x.dim(2)}); };
    first = product(matrix(c), matrix(a), matrix(b), layout, false);
    a_step = a.bytes() / a.dim(0), b_step = b.bytes() / b.dim(0), c_step = c.bytes() / c.dim(0);
  }
  Product of(int64_t matrix) const {
    Product p = first;
    p.a = static_cast<const char*>(p.a) + matrix * a_step;
    p.b = static_cast<const char*>(p.b) + matrix * b_step;
    p.c = static_cast<char*>(p.c) + matrix * c_step;
    return p;
  }
};

void multiply(const BatchedProduct& products, int64_t count, ThreadPool& pool, Gemm& gemm) {
  const Tiles tiles = cut(products.first.m, products.first.n, count);
  pool.parallel_for(count * tiles.count(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      gemm.multiply(tile(products.of(i / tiles.count()), tiles, i % tiles.count()));
  });
}

// y = T(alpha x + beta z), z in f32.
template <class T>
void combine(T* y, const T* x, const float* z, float alpha, float beta, int64_t n, ThreadPool& pool) {
  pool.parallel_for(n, kBlock * kBlocks, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = from_float<T>(alpha * to_float(x[i]) + beta * z[i]);
  });
}

// x / max(safety |x|_F, 1e-7) for each of the matrices.
template <class T>
void normalise(const Tensor& x_BMN, float safety, ThreadPool& pool) {
  const int64_t n = x_BMN.numel() / x_BMN.dim(0);
  T* const x = Tensor(x_BMN).as<T>();
  pool.parallel_for(x_BMN.dim(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      T* const matrix = x + b * n;
      double squares = 0;
      for (int64_t i = 0; i < n; ++i) squares += std::pow(static_cast<double>(to_float(matrix[i])), 2);
      const float norm = std::max(safety * static_cast<float>(std::sqrt(squares)), 1e-7F);
      for (int64_t i = 0; i < n; ++i) matrix[i] = from_float<T>(to_float(matrix[i]) / norm);
    }
  });
}

}  // namespace

void CpuOps::matrix_activity(MatrixActivity op) {
  op.check();
  const MatrixStack& stack = op.stack;
  auto* const active = op.active_B.as<int32_t>();
  std::fill_n(active, stack.count, 0);
  with_f32_or_bf16(op.gradient.dtype(), [&]<class G>(G) {
    const G* const gradient = op.gradient.as<G>();
    const auto any = [&](int64_t begin, int64_t end) {
      return std::any_of(gradient + begin, gradient + end, [](G x) { return !(to_float(x) == 0.0F); });
    };
    if (stack.interleaved == 0)
      return pool_.parallel_for(stack.count, 1, [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; ++b)
          active[b] = any(b * stack.elements(), (b + 1) * stack.elements()) ? 1 : 0;
      });
    each_row_stretch(stack, 0, stack.numel(), [&](int64_t at, int64_t packed, int64_t count) {
      if (any(at, at + count)) active[packed / stack.elements()] = 1;
    });
  });
}

void CpuOps::muon_momentum(MuonMomentum op) {
  op.check();
  const float scale = op.scale_1.as<float>()[0];
  const MuonMomentumStep step(op, scale);
  const Active active(op.active_B, op.stack);
  const int64_t n = op.stack.numel();
  const bool eight_bit = op.m.empty(), moves = scale >= 0;
  auto* const codes = eight_bit ? op.code_m.as<uint8_t>() : nullptr;
  auto* const absmax = eight_bit ? op.absmax_m.as<float>() : nullptr;
  auto* const moments = eight_bit ? nullptr : op.m.as<float>();
  const auto run = [&]<class U, class G>(U, G) {
    U* const u = op.u.as<U>();
    const G* const gradient = op.gradient.as<G>();
    pool_.parallel_for((n + kBlock - 1) / kBlock, kBlocks, [&](int64_t first, int64_t last) {
      for (int64_t block = first; block < last; ++block) {
        const int64_t begin = block * kBlock, end = std::min(n, begin + kBlock);
        float buffer[kBlock];
        float* const m = eight_bit ? buffer : moments + begin;
        if (eight_bit) decode(m, codes + begin, adamw8::kSigned, absmax[block], end - begin);
        bool moved = false;
        each_row_stretch(op.stack, begin, end, [&](int64_t at, int64_t packed, int64_t count) {
          const bool here = moves && active(packed);
          moved = moved || here;
          for (int64_t i = 0; i < count; ++i)
            u[packed + i] = from_float<U>(
                here ? muon_momentum_element(m[at - begin + i], to_float(gradient[at + i]), step) : 0.0F);
        });
        // Rounding again would change the moments of those that do not move.
        if (eight_bit && moved) encode_m(codes + begin, absmax[block], m, end - begin);
      }
    });
  };
  with_f32_or_bf16(op.u.dtype(),
                   [&](auto u) { with_f32_or_bf16(op.gradient.dtype(), [&](auto g) { run(u, g); }); });
}

void CpuOps::newton_schulz(NewtonSchulz op) {
  op.check();
  const int64_t B = op.x_BMN.dim(0), M = op.x_BMN.dim(1), N = op.x_BMN.dim(2), S = std::min(M, N);
  const bool tall = M > N;
  with_f32_or_bf16(op.x_BMN.dtype(), [&]<class T>(T) {
    normalise<T>(op.x_BMN, op.steps.safety, pool_);
    // Products in f32, so that what is added to them is rounded once.
    auto lease = scratch_.borrow(Scratch::padded<float>(B * M * N));
    auto* const product_f32 = lease.template take<float>(B * M * N);
    const Tensor square_f32(product_f32, DType::f32, {B, S, S}),
        whole_f32(product_f32, DType::f32, {B, M, N});
    Tensor x = op.x_BMN, y = op.y_BMN;
    for (int i = 0; i < op.steps.count; ++i) {
      const auto& [a, b, c] = op.steps.polynomial[static_cast<size_t>(i)];
      multiply({op.a_BSS, x, x, tall ? MatmulLayout::TN : MatmulLayout::NT}, B, pool_, gemm_);
      multiply({square_f32, op.a_BSS, op.a_BSS, MatmulLayout::NN}, B, pool_, gemm_);
      combine<T>(op.p_BSS.as<T>(), op.a_BSS.as<T>(), product_f32, b, c, B * S * S, pool_);
      if (tall)
        multiply({whole_f32, x, op.p_BSS, MatmulLayout::NN}, B, pool_, gemm_);
      else
        multiply({whole_f32, op.p_BSS, x, MatmulLayout::NN}, B, pool_, gemm_);
      combine<T>(y.as<T>(), x.as<T>(), product_f32, a, 1.0F, B * M * N, pool_);
      std::swap(x, y);
    }
    if (x.data() != op.x_BMN.data()) copy({op.x_BMN, x});
  });
}

void CpuOps::muon_update(MuonUpdate op) {
  op.check();
  if (op.scale_1.as<float>()[0] < 0) return;
  const MuonUpdateStep step(op);
  const StochasticRounding rounding(op);
  const Active active(op.active_B, op.stack);
  const int64_t n = op.stack.numel();
  const auto run = [&]<class W, class X>(W, X) {
    W* const weight = op.weight.as<W>();
    bf16* const compute = op.compute.empty() ? nullptr : op.compute.as<bf16>();
    const X* const x = op.x.as<X>();
    pool_.parallel_for((n + kBlock - 1) / kBlock, kBlocks, [&](int64_t first, int64_t last) {
      for (int64_t block = first; block < last; ++block) {
        const int64_t begin = block * kBlock, end = std::min(n, begin + kBlock);
        float moved[kBlock];
        load_row(moved, weight + begin, end - begin);
        each_row_stretch(op.stack, begin, end, [&](int64_t at, int64_t packed, int64_t count) {
          if (!active(packed)) return;
          for (int64_t i = 0; i < count; ++i) {
            float& w = moved[at - begin + i];
            w = muon_update_element(w, to_float(x[packed + i]), step);
          }
        });
        store_weights(weight, compute, moved, begin, end - begin, rounding);
      }
    });
  };
  with_f32_or_bf16(op.weight.dtype(),
                   [&](auto w) { with_f32_or_bf16(op.x.dtype(), [&](auto x) { run(w, x); }); });
}

}  // namespace moe::cpu
