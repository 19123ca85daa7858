// SPDX-License-Identifier: MIT
// The contract between the model and the hardware: every operation of a training step, once. CpuOps (cpu/)
// and GpuOps (gpu/) implement it; tests hold one against the other. The CPU bodies are the specification.
//
// Letters: N tokens (= B rows x T), D d_model, H query heads, G kv heads, d head_dim, V vocabulary, E
//   experts, K experts per token, F expert width, R = N*K permuted rows, P = 2*H*d + 2*G*d packed projection.
// Types: A is the activation type, f32, bf16 or f16 (the same throughout a model). Matrix weights have type
//   A; norm weights, the router, statistics, probabilities and losses are f32, gradients of weights too, but
//   for those that matrix products make, which may have type A; indices are i32.
// Outputs come first, as Tensor; inputs after, as const Tensor. Gradients of weights accumulate (+=) but in
//   products, which do as they are told; gradients of activations are written. Outputs must not overlap
//   inputs unless an op says so.
// Accumulation is in f32 (f64 where said). Bounds are normalised mean squared errors against exact
//   arithmetic: 1e-11 for f32, 1e-5 for bf16, 1.6e-7 for f16, 2e-6 for TF32 products (docs/numerics.md);
//   twice rounded, twice that.
// Results are deterministic: reductions have a fixed order, no atomics on floats, ties go to the lower index,
//   and nothing depends on the number of threads.
// An op may return before it is done; later ops on the same object see its result; the host sees it after
//   Device::synchronize() or to_host(). Values that change from step to step are device scalars (shape [1]).
// An op is a method of Ops and a struct of its named arguments, in the header of its family. Beside these are
//   the formula, check() of shapes and types, and the costs for measurements. Every implementation calls
//   check() first; it throws InternalError.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "ops/attention.h"
#include "ops/balance.h"
#include "ops/bias.h"
#include "ops/combine_norm.h"
#include "ops/decoding.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/experts.h"
#include "ops/fp8.h"
#include "ops/fp8_experts.h"
#include "ops/loss.h"
#include "ops/matmul.h"
#include "ops/muon.h"
#include "ops/norm.h"
#include "ops/optimizer.h"
#include "ops/route_plan.h"
#include "ops/router.h"
#include "ops/sampling.h"
#include "tensor/tensor.h"

namespace moe {

// The list of all ops: method and arguments. Classes that have every op are made from it.
#define MOE_OPS(OP)                                   \
  OP(fill, Fill)                                      \
  OP(fill_normal, FillNormal)                         \
  OP(copy, Copy)                                      \
  OP(cast, Cast)                                      \
  OP(add, Add)                                        \
  OP(average, Average)                                \
  OP(sigmoid, Sigmoid)                                \
  OP(sigmoid_backward, SigmoidBackward)               \
  OP(embedding_forward, EmbeddingForward)             \
  OP(embedding_backward, EmbeddingBackward)           \
  OP(rms_norm_forward, RmsNormForward)                \
  OP(rms_norm_backward, RmsNormBackward)              \
  OP(matmul, Matmul)                                  \
  OP(matmul_add, MatmulAdd)                           \
  OP(fp8_matmul, Fp8Matmul)                           \
  OP(quantise_rows, QuantiseRows)                     \
  OP(quantise_columns, QuantiseColumns)               \
  OP(fp8_expert_up, Fp8ExpertUp)                      \
  OP(fp8_expert_down_backward, Fp8ExpertDownBackward) \
  OP(bias_forward, BiasForward)                       \
  OP(bias_backward, BiasBackward)                     \
  OP(grouped_matmul, GroupedMatmul)                   \
  OP(qk_norm_rope_forward, QkNormRopeForward)         \
  OP(qk_norm_rope_backward, QkNormRopeBackward)       \
  OP(attention_forward, AttentionForward)             \
  OP(gate_backward, GateBackward)                     \
  OP(attention_backward, AttentionBackward)           \
  OP(attention_cached, AttentionCached)               \
  OP(router_logits_forward, RouterLogitsForward)      \
  OP(router_logits_backward, RouterLogitsBackward)    \
  OP(route, Route)                                    \
  OP(route_plan, MakeRoutePlan)                       \
  OP(router_losses, RouterLosses)                     \
  OP(route_backward, RouteBackward)                   \
  OP(sequence_loss, SequenceLoss)                     \
  OP(balance_sums, BalanceSums)                       \
  OP(balance_shares, BalanceShares)                   \
  OP(router_bias, RouterBias)                         \
  OP(gather_rows, GatherRows)                         \
  OP(combine_rows, CombineRows)                       \
  OP(swiglu_forward, SwigluForward)                   \
  OP(swiglu_backward, SwigluBackward)                 \
  OP(cross_entropy, CrossEntropy)                     \
  OP(argmax, Argmax)                                  \
  OP(sample, Sample)                                  \
  OP(sum, Sum)                                        \
  OP(sum_squares, SumSquares)                         \
  OP(clip_scale, ClipScale)                           \
  OP(spike_guard, SpikeGuard)                         \
  OP(adamw8, AdamW8)                                  \
  OP(adamw32, AdamW32)                                \
  OP(matrix_activity, MatrixActivity)                 \
  OP(muon_momentum, MuonMomentum)                     \
  OP(newton_schulz, NewtonSchulz)                     \
  OP(normalise_rows, NormaliseRows)                   \
  OP(muon_update, MuonUpdate)
// These have a body of other ops (in ops/, beside their checks); a device may have a faster one.
#define MOE_COMPOSED_OPS(OP)                     \
  OP(expert_up, ExpertUp)                        \
  OP(expert_down_backward, ExpertDownBackward)   \
  OP(expert_down_gradient, ExpertDownGradient)   \
  OP(expert_up_gradient, ExpertUpGradient)       \
  OP(norm_matmul, NormMatmul)                    \
  OP(attention_step, AttentionStep)              \
  OP(norm_router_logits, NormRouterLogits)       \
  OP(expert_mixture, ExpertMixture)              \
  OP(combine_norm_forward, CombineNormForward)   \
  OP(combine_norm_backward, CombineNormBackward) \
  OP(router_forward, RouterForward)              \
  OP(router_backward, RouterBackward)

// Runs body, which calls operations of one Ops and does nothing else: each time the same ones on the same
// tensors. So a GPU may record them and from then on replay the record without calling body (a CUDA graph).
class CapturedRegion {
 public:
  virtual ~CapturedRegion() = default;
  virtual void run(const std::function<void()>& body) { body(); }
  // From body, for what is no operation and cannot be recorded: work is called at this place in each run.
  virtual void host_callback(const std::function<void()>& work) { work(); }
};

class Ops {
 public:
  virtual ~Ops() = default;

  // For a sequence of operations that is run again and again; the object must not outlive this one.
  virtual std::unique_ptr<CapturedRegion> captured_region() { return std::make_unique<CapturedRegion>(); }

  // Ops of few arguments, by position.
  void fill(Tensor x, float value) { fill(Fill{x, value}); }
  void copy(Tensor y, const Tensor& x) { copy(Copy{y, x}); }
  void cast(Tensor y, const Tensor& x) { cast(Cast{y, x}); }
  void add(Tensor y, const Tensor& x, float scale = 1) { add(Add{y, x, scale}); }
  void average(Tensor y, const Tensor& x, float share) { average(Average{y, x, share}); }
  void sigmoid(Tensor y, const Tensor& x) { sigmoid(Sigmoid{y, x}); }
  void sigmoid_backward(Tensor d, const Tensor& y) { sigmoid_backward(SigmoidBackward{d, y}); }
  void embedding_forward(Tensor x_ND, const Tensor& id_N, const Tensor& w_VD, float scale = 1) {
    embedding_forward(EmbeddingForward{x_ND, id_N, w_VD, scale});
  }
  void embedding_backward(Tensor dw_VD, const Tensor& id_N, const Tensor& dx_ND, float scale = 1) {
    embedding_backward(EmbeddingBackward{dw_VD, id_N, dx_ND, scale});
  }
  void rms_norm_forward(Tensor y_ND, Tensor rstd_N, const Tensor& x_ND, const Tensor& w_D, float eps) {
    rms_norm_forward(RmsNormForward{y_ND, rstd_N, x_ND, w_D, eps});
  }
  void matmul(Tensor c_MN, const Tensor& a, const Tensor& b, MatmulLayout layout, bool accumulate) {
    matmul(Matmul{c_MN, a, b, layout, accumulate});
  }
  void matmul_add(Tensor c_MN, const Tensor& addend_MN, const Tensor& a_MK, const Tensor& b_NK) {
    matmul_add(MatmulAdd{c_MN, addend_MN, a_MK, b_NK});
  }
  void quantise_rows(const ScaledRows& q, const Tensor& x) { quantise_rows(QuantiseRows{q, x}); }
  void grouped_matmul(Tensor c, const Tensor& a, const Tensor& b, const Tensor& offset_E1,
                      MatmulLayout layout, bool accumulate) {
    grouped_matmul(GroupedMatmul{c, a, b, offset_E1, layout, accumulate});
  }
  void router_logits_forward(Tensor logits_NE, const Tensor& x_ND, const Tensor& w_ED) {
    router_logits_forward(RouterLogitsForward{logits_NE, x_ND, w_ED});
  }
  void route_plan(RoutePlan plan, const Tensor& expert_NK, const Capacity& capacity) {
    route_plan(MakeRoutePlan{plan, expert_NK, capacity});
  }
  void gather_rows(Tensor y_RD, const Tensor& x_ND, const RoutePlan& plan) {
    gather_rows(GatherRows{y_RD, x_ND, plan});
  }
  void swiglu_forward(Tensor a_RF, const Tensor& h_R2F, const RoutePlan& plan) {
    swiglu_forward(SwigluForward{a_RF, h_R2F, plan});
  }
  void sum(Tensor sum_1, const Tensor& x) { sum(Sum{sum_1, x}); }
  void sum_squares(Tensor sum_1, const Tensor& x) { sum_squares(SumSquares{sum_1, x}); }
  void clip_scale(Tensor scale_1, const Tensor& squares_n, float max_norm, float loss_scale) {
    clip_scale(ClipScale{scale_1, squares_n, max_norm, loss_scale});
  }

#define MOE_OP(method, Arguments) virtual void method(Arguments op) = 0;
  MOE_OPS(MOE_OP)
#undef MOE_OP
#define MOE_OP(method, Arguments) virtual void method(Arguments op);
  MOE_COMPOSED_OPS(MOE_OP)
#undef MOE_OP
};

}  // namespace moe
