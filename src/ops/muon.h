// SPDX-License-Identifier: MIT
// Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): momentum, orthogonalised by a Newton-Schulz
// iteration. The definition is that of torch.optim.Muon (PyTorch 2.11), which has one matrix a parameter;
// here one step is four ops on a stack of matrices. Letters, types and what holds for every op: ops/ops.h.
#pragma once

#include <array>
#include <cstdint>

#include "tensor/tensor.h"

namespace moe {

// `count` matrices [rows, cols] one after another, as a flat tensor has them. interleaved > 0: two matrices
// that take turns, so many rows of each at a time (queries and their gates).
struct MatrixStack {
  int64_t count = 0, rows = 0, cols = 0;
  int64_t interleaved = 0;

  constexpr int64_t elements() const { return rows * cols; }  // of one
  constexpr int64_t numel() const { return count * elements(); }
  // Where element i of the flat tensor lies when the matrices lie one after another.
  constexpr int64_t packed(int64_t i) const {
    if (interleaved == 0) return i;
    const int64_t row = i / cols, turn = row / interleaved, inside = row % interleaved;
    return ((turn % 2) * rows + turn / 2 * interleaved + inside) * cols + i % cols;
  }
  // Of row i of matrix b, among the rows of the flat tensor.
  constexpr int64_t flat_row(int64_t b, int64_t i) const {
    if (interleaved == 0) return b * rows + i;
    return (2 * (i / interleaved) + b) * interleaved + i % interleaved;
  }
};

// active[b] = 1 where the gradient of matrix b has an element that is not zero, else 0. So an expert without
// tokens in a step is known on every rank.
struct MatrixActivity {
  static constexpr const char* name = "matrix_activity";
  static constexpr const char* phase = "optimizer";
  Tensor active_B;  // i32
  const Tensor gradient;
  MatrixStack stack;

  void check() const;
  double bytes() const;
};

// With g = gradient * scale:  m = momentum m + (1 - momentum) g,  u = (1 - momentum) g + momentum m with
// Nesterov's look ahead, else m. u is packed. What is not active has a momentum that stays, and u = 0. A
// gradient that is not finite clears the momentum, and u = 0. scale_1 < 0: the momentum stays, and u = 0.
// m is f32 [n]; or code_m u8 [n] and absmax_m f32 [n / 256] in the format of AdamW8's first moment: then a
// matrix has a multiple of 256 elements. u is f32 or bf16. active_B may be empty: all are.
struct MuonMomentum {
  static constexpr const char* name = "muon_momentum";
  static constexpr const char* phase = "optimizer";
  Tensor u, m, code_m, absmax_m;
  const Tensor gradient, active_B, scale_1;
  MatrixStack stack;
  float momentum = 0.95F;
  bool nesterov = true;

  void check() const;
  double bytes() const;
};

// The polynomials of the steps: X' = a X + b (X X^T) X + c (X X^T)^2 X.
struct NewtonSchulzSteps {
  static constexpr int kMost = 8;
  struct Polynomial {
    float a, b, c;
  };
  std::array<Polynomial, kMost> polynomial{};
  int count = 0;
  float safety = 1;  // X starts with a Frobenius norm of 1 / safety
};
// The same polynomial in each step: singular values end in [0.68, 1.14] (Jordan et al. 2024).
NewtonSchulzSteps quintic_steps(int count);
// Another one in each step (Amsel et al. 2025, arXiv 2505.16932): better for small singular values, no
// costlier. More steps than the five listed repeat the last one.
NewtonSchulzSteps polar_express_steps(int count);

// Of so many steps on one matrix: two products of S x S x L and one of S x S x S each, S the smaller side.
double newton_schulz_flops(int64_t rows, int64_t cols, int64_t steps);

// x = the orthogonal factor of each matrix, nearly: all singular values become about 1.
//   x = x / max(safety |x|_F, 1e-7);  then the steps. Where rows > cols, the mirror image:
//   X' = a X + X (b X^T X + c (X^T X)^2). Zero stays zero.
// x is f32 or bf16. In bf16, X X^T, b A + c A^2 and X' are rounded once each; sums are in f32.
// Scratch: y_BMN like x; a_BSS, p_BSS of x's type, S = min(M, N).
struct NewtonSchulz {
  static constexpr const char* name = "newton_schulz";
  static constexpr const char* phase = "optimizer";
  Tensor x_BMN, y_BMN, a_BSS, p_BSS;
  NewtonSchulzSteps steps;

  void check() const;
  double flops() const;
  double bytes() const;
};

// NorMuon (Li et al. 2025, arXiv 2510.05491): brings the rows of each matrix of x, which is packed, to about
// one length, by a second moment of each row, and leaves the matrix its Frobenius norm. With r the mean
// square of a row:
//   v = beta2 v + (1 - beta2) r,  f = 1 / (sqrt(v) + 1e-8),  row of x *= f |x|_F / |f x|_F.
// Sums are in f64. v f32 [count rows], in the order of the flat tensor's rows. What is not active stays.
// scale_1 < 0: nothing changes.
struct NormaliseRows {
  static constexpr const char* name = "normalise_rows";
  static constexpr const char* phase = "optimizer";
  static constexpr double kEpsilon = 1e-8;
  Tensor x, v;
  const Tensor active_B, scale_1;
  MatrixStack stack;
  float beta2 = 0.95F;

  void check() const;
  double bytes() const;
};

// weight -= rate * decay * weight, then weight -= rate * shape_scale * x, for active matrices. x is packed.
// cautious: decay only where x * weight > 0, as AdamW::cautious.
// weight f32 with a copy compute (bf16 or empty), or bf16 rounded at random: step, seed, stream and first are
// those of AdamW. scale_1 < 0: nothing changes.
struct MuonUpdate {
  static constexpr const char* name = "muon_update";
  static constexpr const char* phase = "optimizer";
  Tensor weight, compute;
  const Tensor x, active_B, scale_1;
  MatrixStack stack;
  float rate = 0, weight_decay = 0, shape_scale = 1;
  bool cautious = false;
  int64_t step = 1;
  uint64_t seed = 0, stream = 0;
  int64_t first = 0;

  void check() const;
  double bytes() const;
};

}  // namespace moe
