// SPDX-License-Identifier: MIT
#include "optim/muon.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/random.h"
#include "optim/adamw.h"
#include "optim/flat.h"

namespace moe::optim {
namespace {

// Of scratch. Products of more matrices at a time are not faster: those of the full model are 64 of the
// 128 [512, 1024] matrices of a layer at a time.
constexpr int64_t kScratchBytes = int64_t{256} << 20;

double shape_scale(MuonScale scale, int64_t rows, int64_t cols) {
  const auto r = static_cast<double>(rows), c = static_cast<double>(cols);
  switch (scale) {
    case MuonScale::rms:
      return 0.2 * std::sqrt(std::max(r, c));
    case MuonScale::spectral:
      return std::sqrt(std::max(1.0, r / c));
  }
  CHECK(false, "a scale of Muon without a formula");
}

double momentum_at(const MuonConfig& muon, int64_t step) {
  if (step >= muon.momentum_warmup_steps) return muon.momentum;
  const double part = static_cast<double>(step) / static_cast<double>(muon.momentum_warmup_steps);
  return (1 - part) * muon.first_momentum + part * muon.momentum;
}

// A flat tensor's elements [begin, end); an empty one stays so.
Tensor part(const Tensor& flat, int64_t begin, int64_t end) {
  return flat.empty() ? flat : flat.rows(begin, end);
}

}  // namespace

MuonOptimizer::MuonOptimizer(const OptimizerConfig& config, const std::vector<Parameter>& parameters,
                             Arena& arena, Ops& ops)
    : config_(config), ops_(ops) {
  for (const Parameter& parameter : parameters) {
    Entry entry{.parameter = parameter, .eight_bit = keeps_8bit(parameter), .m = {}, .absmax_m = {}, .v = {}};
    if (const int64_t n = parameter.local().weight.numel(); n > 0) {
      const auto take = [&](DType type, int64_t count) {
        return arena.allocate(kStateCategory, type, {count});
      };
      entry.m = take(entry.eight_bit ? DType::u8 : DType::f32, n);
      if (entry.eight_bit) entry.absmax_m = take(DType::f32, n / kAdamBlock);
      if (config_.muon.beta2 > 0) entry.v = take(DType::f32, n / parameter.width());
      add_pieces(entry);
    }
    entries_.push_back(std::move(entry));
  }
  int64_t bytes = 0, count = 0;
  for (const Batch& batch : batches_) {
    bytes = std::max(bytes, batch.count * bytes_of_matrix(batch.rows, batch.cols));
    count = std::max(count, batch.count);
  }
  if (batches_.empty()) return;
  scratch_ = arena.allocate("optimizer scratch", DType::u8, {bytes});
  active_ = arena.allocate("optimizer scratch", DType::i32, {count});
}

bool MuonOptimizer::keeps_8bit(const Parameter& parameter) const {
  const auto stretches = parameter.whole_stretches();
  return config_.of(parameter.role).eight_bit &&
         parameter.global_shape(DType::u8).numel() >= AdamWOptimizer::kMinimum8bitSize &&
         std::all_of(stretches.begin(), stretches.end(), [&](int64_t n) {
           return n % (parameter.interleaved > 0 ? 2 * kAdamBlock : kAdamBlock) == 0;
         });
}

// The matrix twice, and its square twice.
int64_t MuonOptimizer::bytes_of_matrix(int64_t rows, int64_t cols) const {
  const int64_t smaller = std::min(rows, cols);
  return 2 * (rows * cols + smaller * smaller) * static_cast<int64_t>(size_of(config_.muon.type));
}

int64_t MuonOptimizer::most_matrices(int64_t rows, int64_t cols) const {
  const int64_t bytes = bytes_of_matrix(rows, cols);
  CHECK(bytes > 0, "a matrix without elements");
  return std::max<int64_t>(2, kScratchBytes / bytes);
}

void MuonOptimizer::add_pieces(const Entry& entry) {
  const Parameter& parameter = entry.parameter;
  CHECK(!parameter.matrix_rows.empty(), parameter.name + " has no matrices");
  const Parameter::LocalShard local = parameter.local();
  // Where this rank's part begins and ends among the elements here.
  const int64_t begin = local.offset - parameter.offset(), end = begin + local.weight.numel();
  int64_t at = 0;
  Piece open;  // still growing
  const auto close = [&] {
    if (open.stack.count == 0) return;
    const int64_t last = at - begin, first = last - open.stack.numel();
    open.weight = local.weight.rows(first, last);
    open.compute = local.is_copied() ? local.compute.rows(first, last) : Tensor();
    open.gradient = part(local.gradient, first, last);
    open.m = entry.m.rows(first, last);
    if (entry.eight_bit) open.absmax_m = entry.absmax_m.rows(first / kAdamBlock, last / kAdamBlock);
    if (!entry.v.empty()) open.v = entry.v.rows(first / parameter.width(), last / parameter.width());
    open.first = local.offset + first;
    if (open.weight.dtype() == DType::bf16 && open.first % kAdamBlock != 0)
      throw UserError(parameter.name,
                      "matrices of a multiple of 256 weights, to round bf16 weights at random",
                      std::to_string(open.stack.elements()), "set training.master_weights to fp32");
    add(open);
    open = {};
  };
  const auto take = [&](const MatrixStack& stack) {
    const bool here = at >= begin && at < end;
    CHECK(!here || at + stack.numel() <= end, parameter.name + ": a shard cuts a matrix");
    const bool grows = here && open.stack.rows == stack.rows && open.stack.interleaved == 0 &&
                       stack.interleaved == 0 && open.stack.count < most_matrices(stack.rows, stack.cols);
    if (grows) {
      open.stack.count += stack.count;
    } else {
      close();
      if (here) {
        open.stack = stack;
        open.policy = config_.of(parameter.role);
        open.eight_bit = entry.eight_bit;
        open.may_be_idle = parameter.role == Role::expert;
        open.stream = stream_id("round/" + parameter.name);
      }
    }
    at += stack.numel();
  };
  for (int64_t i = 0; i < parameter.entries(); ++i)
    for (size_t k = 0; k < parameter.matrix_rows.size(); ++k) {
      const bool by_turns = k == 0 && parameter.interleaved > 0;
      take({by_turns ? 2 : 1, parameter.matrix_rows[k], parameter.width(),
            by_turns ? parameter.interleaved : 0});
      if (by_turns) ++k;
    }
  close();
}

void MuonOptimizer::add(Piece& piece) {
  const MatrixStack& stack = piece.stack;
  const int64_t most = most_matrices(stack.rows, stack.cols);
  const auto has_room = [&](const Batch& batch) {
    return batch.rows == stack.rows && batch.cols == stack.cols && batch.count + stack.count <= most;
  };
  auto batch = std::find_if(batches_.begin(), batches_.end(), has_room);
  if (batch == batches_.end())
    batch =
        batches_.insert(batches_.end(), {.pieces = {}, .count = 0, .rows = stack.rows, .cols = stack.cols});
  piece.first_matrix = batch->count;
  batch->count += stack.count;
  batch->pieces.push_back(piece);
}

void MuonOptimizer::step(const Update& update, const Tensor& scale_1) {
  const DType type = config_.muon.type;
  for (const Batch& batch : batches_) {
    const int64_t B = batch.count, M = batch.rows, N = batch.cols, S = std::min(M, N);
    int64_t used = 0;
    const auto take = [&](int64_t rows, int64_t cols) {
      const Tensor taken(static_cast<char*>(scratch_.data()) + used, type, {B, rows, cols});
      used += taken.bytes();
      return taken;
    };
    const Tensor x_BMN = take(M, N), y_BMN = take(M, N), a_BSS = take(S, S), p_BSS = take(S, S);
    const Tensor x = x_BMN.reshape({B * M * N});
    momentum(batch, x, update.count, scale_1);
    ops_.newton_schulz({x_BMN, y_BMN, a_BSS, p_BSS, config_.muon.steps});
    if (config_.muon.beta2 > 0) normalise_rows(batch, x, scale_1);
    move(batch, x, update, scale_1);
  }
}

Tensor MuonOptimizer::of(const Piece& piece, const Tensor& x) {
  const int64_t begin = piece.first_matrix * piece.stack.elements();
  return x.rows(begin, begin + piece.stack.numel());
}

Tensor MuonOptimizer::active_of(const Piece& piece) const {
  if (!piece.may_be_idle) return {};
  return active_.rows(piece.first_matrix, piece.first_matrix + piece.stack.count);
}

void MuonOptimizer::momentum(const Batch& batch, Tensor x, int64_t count, const Tensor& scale_1) {
  const auto momentum = static_cast<float>(momentum_at(config_.muon, count));
  for (const Piece& piece : batch.pieces) {
    const Tensor active = active_of(piece);
    if (piece.may_be_idle) ops_.matrix_activity({active, piece.gradient, piece.stack});
    ops_.muon_momentum({.u = of(piece, x),
                        .m = piece.eight_bit ? Tensor() : piece.m,
                        .code_m = piece.eight_bit ? piece.m : Tensor(),
                        .absmax_m = piece.absmax_m,
                        .gradient = piece.gradient,
                        .active_B = active,
                        .scale_1 = scale_1,
                        .stack = piece.stack,
                        .momentum = momentum,
                        .nesterov = config_.muon.nesterov});
  }
}

void MuonOptimizer::normalise_rows(const Batch& batch, const Tensor& x, const Tensor& scale_1) {
  for (const Piece& piece : batch.pieces)
    ops_.normalise_rows({.x = of(piece, x),
                         .v = piece.v,
                         .active_B = active_of(piece),
                         .scale_1 = scale_1,
                         .stack = piece.stack,
                         .beta2 = static_cast<float>(config_.muon.beta2)});
}

void MuonOptimizer::move(const Batch& batch, const Tensor& x, const Update& update, const Tensor& scale_1) {
  const auto scale = static_cast<float>(shape_scale(config_.muon.scale, batch.rows, batch.cols));
  for (const Piece& piece : batch.pieces) {
    // The operation writes copies in bf16 on its way; one in f16 is a pass of its own.
    const bool in_f16 = !piece.compute.empty() && piece.compute.dtype() == DType::f16;
    ops_.muon_update({.weight = piece.weight,
                      .compute = in_f16 ? Tensor() : piece.compute,
                      .x = of(piece, x),
                      .active_B = active_of(piece),
                      .scale_1 = scale_1,
                      .stack = piece.stack,
                      .rate = static_cast<float>(update.learning_rate * piece.policy.rate_scale),
                      .weight_decay = static_cast<float>(piece.policy.weight_decay * update.decay_scale),
                      .shape_scale = scale,
                      .cautious = config_.cautious_decay,
                      .step = update.count + 1,
                      .seed = config_.seed,
                      .stream = piece.stream,
                      .first = piece.first});
    if (in_f16) ops_.cast(piece.compute, piece.weight);
  }
}

std::vector<NamedShard> MuonOptimizer::state() const {
  std::vector<NamedShard> state;
  for (const Entry& entry : entries_) {
    add_state(state, entry.parameter, ".m", entry.m, entry.absmax_m, entry.eight_bit);
    if (config_.muon.beta2 > 0) add_row_state(state, entry.parameter, ".v", entry.v);
  }
  return state;
}

}  // namespace moe::optim
