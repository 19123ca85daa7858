// SPDX-License-Identifier: MIT
// Which operands Hopper's kernels take, and how they are called.
#include "gpu/sm90/provider.h"

#include "gpu/attention_window.h"
#include "gpu/sm90/attention.h"
#include "gpu/sm90/experts.h"
#include "gpu/sm90/grouped_matmul.h"
#include "gpu/sm90/half_type.cuh"

namespace moe::gpu {
namespace {

class Sm90 final : public Provider {
 public:
  explicit Sm90(const Launcher& launcher) : launcher_(launcher) {}

  std::string describe(DType) const override { return "Hopper kernels"; }

  bool attention_forward(AttentionForward op) override {
    if (!sm90_takes_attention(op.q_NHd)) return false;
    auto memory = launcher_.workspace.carve();
    int* const next = memory.take<int>(1);
    const int32_t* const first_BT = first_keys(launcher_.stream, memory, op.doc_start_BT, op.window);
    sm90_attention_forward(launcher_.stream, launcher_.num_sms, next, first_BT, op);
    return true;
  }

  bool attention_backward(AttentionBackward op, const Statistics& statistics,
                          Workspace::Carving& memory) override {
    if (!sm90_takes_attention(op.q_NHd)) return false;
    sm90_attention_backward(launcher_.stream, launcher_.num_sms, memory.take<int>(2), statistics, op);
    return true;
  }

  bool grouped_matmul(GroupedMatmul op) override {
    if (!sm90_takes(op)) return false;
    sm90_grouped_matmul(launcher_.stream, launcher_.num_sms, op, Schedule::pingpong);
    return true;
  }

  bool expert_up(ExpertUp op) override {
    if (!takes(op.x_ND, {op.h_R2F, op.a_RF, op.x_ND, op.w_E2FD}, op.plan)) return false;
    sm90_expert_up(launcher_.stream, launcher_.num_sms, op, Schedule::cooperative);
    return true;
  }

  bool expert_down_backward(ExpertDownBackward op) override {
    if (op.dy_ND.dim(1) % 64 != 0 ||
        !takes(op.dy_ND, {op.dh_R2F, op.a_RF, op.dy_ND, op.w_EDF, op.h_R2F}, op.plan))
      return false;
    sm90_expert_down_backward(launcher_.stream, launcher_.num_sms, op,
                              partials(op.a_RF.dim(0), op.a_RF.dim(1)));
    return true;
  }

  bool fp8_expert_up(Fp8ExpertUp op) override {
    if (!takes_fp8(op.x_ND, op.w_E2FD, {op.h_R2F, op.a_RF}, op.plan)) return false;
    sm90_fp8_expert_up(launcher_.stream, launcher_.num_sms, op, Schedule::cooperative);
    return true;
  }

  bool fp8_expert_down_backward(Fp8ExpertDownBackward op) override {
    if (!takes_fp8(op.dy_ND, op.w_EFD, {op.dh_R2F, op.a_RF, op.h_R2F}, op.plan)) return false;
    sm90_fp8_expert_down_backward(launcher_.stream, launcher_.num_sms, op,
                                  partials(op.a_RF.dim(0), op.a_RF.dim(1)));
    return true;
  }

  bool expert_down_gradient(ExpertDownGradient op) override {
    if (!takes(op.dy_ND, {op.dw_EDF, op.dy_ND, op.a_RF}, op.plan)) return false;
    sm90_expert_down_gradient(launcher_.stream, launcher_.num_sms, op, Schedule::cooperative);
    return true;
  }

  bool expert_up_gradient(ExpertUpGradient op) override {
    if (!takes(op.x_ND, {op.dw_E2FD, op.dh_R2F, op.x_ND}, op.plan)) return false;
    sm90_expert_up_gradient(launcher_.stream, launcher_.num_sms, op, Schedule::cooperative);
    return true;
  }

 private:
  static bool takes(const Tensor& tokens, std::initializer_list<Tensor> operands, const RoutePlan& plan) {
    return is_half_type(tokens.dtype()) && sm90_takes(operands, plan.count_E.numel());
  }

  static bool takes_fp8(const ScaledRows& tokens, const ScaledRows& weights,
                        std::initializer_list<Tensor> others, const RoutePlan& plan) {
    const bool aligned =
        tokens.value.dim(1) % 16 == 0 && reinterpret_cast<uintptr_t>(weights.scale.data()) % 8 == 0;
    return aligned &&
           sm90_takes({sm90_words(tokens.value), sm90_words(weights.value)}, plan.count_E.numel()) &&
           sm90_takes(others, plan.count_E.numel());
  }
  float* partials(int64_t rows, int64_t f) const {
    return launcher_.workspace.carve().take<float>(expert_down_backward_partials(rows, f));
  }

  Launcher launcher_;
};

}  // namespace

std::unique_ptr<Provider> sm90_provider(const Launcher& launcher) {
  return std::make_unique<Sm90>(launcher);
}

}  // namespace moe::gpu
