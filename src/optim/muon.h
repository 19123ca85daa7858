// SPDX-License-Identifier: MIT
// Muon's states and its walk over the matrices (Jordan et al. 2024; torch.optim.Muon). The arithmetic is that
// of ops/muon.h. Here is decided which matrices a parameter has, and which of one shape are orthogonalised
// together: many small products are faster as one.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/ops.h"
#include "optim/optimizer_config.h"
#include "tensor/arena.h"
#include "tensor/parameter.h"

namespace moe::optim {

class MuonOptimizer {
 public:
  // As OptimizerSet. A rank's shard has whole matrices (ShardingPlan::whole_matrices). Takes scratch memory
  // as well, category "optimizer scratch". Throws UserError where bf16 weights cannot be rounded at random.
  MuonOptimizer(const OptimizerConfig& config, const std::vector<Parameter>& parameters, Arena& arena,
                Ops& ops);

  // An expert whose gradient is zero had no tokens: its weights and momentum stay.
  void step(const Update& update, const Tensor& scale_1);

  // 8-bit blocks of 256 elements must not reach from one matrix into the next.
  bool keeps_8bit(const Parameter& parameter) const;
  // With P the name of a parameter:
  //   8-bit: P.m.codes u8 in P's shape;  P.m.absmax f32 [n / 256]
  //   32-bit: P.m f32 in P's shape
  //   NorMuon: P.v f32, one for each row of P
  std::vector<NamedShard> state() const;

 private:
  struct Entry {
    Parameter parameter;
    bool eight_bit = false;
    Tensor m, absmax_m, v;  // flat, of its own
  };
  // Matrices of one shape, one after another in a parameter.
  struct Piece {
    MatrixStack stack;
    Tensor weight, compute, gradient, m, absmax_m, v;
    RolePolicy policy;
    bool eight_bit = false, may_be_idle = false;
    int64_t first_matrix = 0;  // in its batch
    uint64_t stream = 0;       // of random numbers, and where in it to begin
    int64_t first = 0;
  };
  // Pieces of one shape that are orthogonalised together.
  struct Batch {
    std::vector<Piece> pieces;
    int64_t count = 0, rows = 0, cols = 0;
  };
  int64_t bytes_of_matrix(int64_t rows, int64_t cols) const;
  int64_t most_matrices(int64_t rows, int64_t cols) const;
  void add_pieces(const Entry& entry);
  void add(Piece& piece);
  static Tensor of(const Piece& piece, const Tensor& x);  // its part of what is packed
  Tensor active_of(const Piece& piece) const;             // empty: all are
  void momentum(const Batch& batch, Tensor x, int64_t count, const Tensor& scale_1);
  void normalise_rows(const Batch& batch, const Tensor& x, const Tensor& scale_1);
  void move(const Batch& batch, const Tensor& x, const Update& update, const Tensor& scale_1);

  OptimizerConfig config_;
  Ops& ops_;
  std::vector<Entry> entries_;  // in the order of the parameters
  std::vector<Batch> batches_;
  Tensor scratch_, active_;
};

}  // namespace moe::optim
