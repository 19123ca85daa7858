// SPDX-License-Identifier: MIT
// The experts' kernels on a Hopper GPU at the shapes of the full model (32,768 tokens, 64 experts, top-2, D
// 1024, F 512), each with both schedules of its warpgroups (gpu/sm90/grouped_matmul.h) where it has them.
// tflops counts the product alone.
//   experts_gpu_bench
#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "base/random.h"
#include "gpu/gpu_device.h"
#include "gpu/gpu_ops.h"
#include "gpu/sm90/experts.h"

namespace moe::gpu {
namespace {

constexpr int64_t kTokens = 32768, kExperts = 64, kChoices = 2, kD = 1024, kF = 512,
                  kRows = kTokens * kChoices;

struct Layer {
  Layer() : device(0), ops(device) {
    const auto make = [&](DType type, std::initializer_list<int64_t> shape) {
      const Tensor size(nullptr, type, shape);
      Tensor tensor(device.allocate(size.bytes()), type, shape);
      std::vector<uint16_t> bits(static_cast<size_t>(size.bytes() / 2));
      const Random random(1, "experts");  // 16-bit numbers between 0.5 and 1, either sign
      constexpr size_t kFresh = 1 << 20;  // then repeated
      for (size_t i = 0; i < bits.size(); ++i)
        bits[i] = i < kFresh ? static_cast<uint16_t>(0x3F00 | (random.below(i, 256) * 0x101 & 0x807F))
                             : bits[i - kFresh];
      if (type != DType::i32) device.to_device(tensor, bits.data());
      return tensor;
    };
    x = make(DType::bf16, {kTokens, kD});
    up = make(DType::bf16, {kExperts, 2 * kF, kD});
    down = make(DType::bf16, {kExperts, kD, kF});
    h = make(DType::bf16, {kRows, 2 * kF});
    dh = make(DType::bf16, {kRows, 2 * kF});
    a = make(DType::bf16, {kRows, kF});
    rows = make(DType::bf16, {kRows, kD});
    dup = make(DType::f32, {kExperts, 2 * kF, kD});
    ddown = make(DType::f32, {kExperts, kD, kF});
    weight = make(DType::f32, {kTokens, kChoices});
    dweight = make(DType::f32, {kTokens, kChoices});
    partial = make(DType::f32, {expert_down_backward_partials(kRows, kF)});
    plan = {make(DType::i32, {kExperts + 1}), make(DType::i32, {kRows}),
            make(DType::i32, {kTokens, kChoices}), make(DType::i32, {kExperts}),
            make(DType::i32, {kExperts})};
    const Tensor expert = make(DType::i32, {kTokens, kChoices});
    std::vector<int32_t> chosen;
    const Random random(1, "choices");
    for (int64_t n = 0; n < kTokens; ++n) {
      const auto first = static_cast<int32_t>(random.below(static_cast<uint64_t>(2 * n), kExperts));
      const auto step = static_cast<int32_t>(random.below(static_cast<uint64_t>(2 * n + 1), kExperts - 1));
      chosen.push_back(first);
      chosen.push_back((first + 1 + step) % static_cast<int32_t>(kExperts));
    }
    device.to_device(expert, chosen.data());
    ops.route_plan({plan, expert, {}});
    const auto scaled = [&](std::initializer_list<int64_t> shape, std::initializer_list<int64_t> rows_shape) {
      return ScaledRows{make(DType::e4m3, shape), make(DType::f32, rows_shape)};
    };
    x8 = scaled({kTokens, kD}, {kTokens});
    up8 = scaled({kExperts, 2 * kF, kD}, {kExperts, 2 * kF});
    down8 = scaled({kExperts, kF, kD}, {kExperts, kF});
    ops.quantise_rows({x8, x});
    ops.quantise_rows({up8, up});
    ops.quantise_columns({down8, down});
    device.synchronize();
  }

  GpuDevice device;
  GpuOps ops;
  Tensor x, up, down, h, dh, a, rows, dup, ddown, weight, dweight, partial;
  ScaledRows x8, up8, down8;
  RoutePlan plan;
};

Layer* layer() {
  static Layer* const instance =
      why_unusable(0).empty() ? new Layer : nullptr;  // kept: the driver may be gone when statics end
  return instance;
}

// Runs body(layer, stream, num_sms, schedule); width: of the product beside D.
template <class Body>
void run(benchmark::State& state, int64_t width, Body&& body) {
  Layer* const l = layer();
  if (l == nullptr || l->device.properties().major != 9) return state.SkipWithError("needs a Hopper GPU");
  const auto schedule = static_cast<Schedule>(state.range(0));
  const auto once = [&] {
    body(*l, l->device.stream(), l->device.properties().multiProcessorCount, schedule);
  };
  once();
  l->device.synchronize();
  for (auto _ : state) {
    for (int i = 0; i < 10; ++i) once();
    l->device.synchronize();
  }
  const double flops =
      2.0 * static_cast<double>(kRows) * static_cast<double>(kD) * static_cast<double>(width);
  state.counters["tflops"] = benchmark::Counter(flops * 10e-12 * static_cast<double>(state.iterations()),
                                                benchmark::Counter::kIsRate);
}

void Up(benchmark::State& state) {
  run(state, 2 * kF, [](Layer& l, cudaStream_t s, int num_sms, Schedule schedule) {
    sm90_expert_up(s, num_sms, {l.h, l.a, {}, l.x, l.up, l.plan}, schedule);
  });
}
void Down(benchmark::State& state) {
  run(state, kF, [](Layer& l, cudaStream_t s, int num_sms, Schedule schedule) {
    sm90_grouped_matmul(s, num_sms, {l.rows, l.a, l.down, l.plan.offset_E1, MatmulLayout::NT}, schedule);
  });
}
void DownBackward(benchmark::State& state) {
  run(state, kF, [](Layer& l, cudaStream_t s, int num_sms, Schedule) {
    sm90_expert_down_backward(s, num_sms, {l.dh, l.a, l.dweight, {}, l.x, l.down, l.h, l.weight, l.plan},
                              static_cast<float*>(l.partial.data()));
  });
}
void Fp8Up(benchmark::State& state) {
  run(state, 2 * kF, [](Layer& l, cudaStream_t s, int num_sms, Schedule schedule) {
    sm90_fp8_expert_up(s, num_sms, {l.h, l.a, l.x8, l.up8, l.plan}, schedule);
  });
}
void Fp8DownBackward(benchmark::State& state) {
  run(state, kF, [](Layer& l, cudaStream_t s, int num_sms, Schedule) {
    sm90_fp8_expert_down_backward(s, num_sms, {l.dh, l.a, l.dweight, l.x8, l.down8, l.h, l.weight, l.plan},
                                  static_cast<float*>(l.partial.data()));
  });
}
// What FP8 costs beside them: x by rows for each layer, the experts' weights once a step.
void QuantiseTokens(benchmark::State& state) {
  run(state, 0, [](Layer& l, cudaStream_t, int, Schedule) { l.ops.quantise_rows({l.x8, l.x}); });
}
void QuantiseUp(benchmark::State& state) {
  run(state, 0, [](Layer& l, cudaStream_t, int, Schedule) { l.ops.quantise_rows({l.up8, l.up}); });
}
void QuantiseDown(benchmark::State& state) {
  run(state, 0, [](Layer& l, cudaStream_t, int, Schedule) { l.ops.quantise_columns({l.down8, l.down}); });
}
void DownGradient(benchmark::State& state) {
  run(state, kF, [&](Layer& l, cudaStream_t s, int num_sms, Schedule schedule) {
    sm90_expert_down_gradient(s, num_sms, {l.ddown, {}, l.x, l.a, l.plan, state.range(1) != 0}, schedule);
  });
}
void UpGradient(benchmark::State& state) {
  run(state, 2 * kF, [&](Layer& l, cudaStream_t s, int num_sms, Schedule schedule) {
    sm90_expert_up_gradient(s, num_sms, {l.dup, {}, l.h, l.x, l.plan, state.range(1) != 0}, schedule);
  });
}
void UpBackward(benchmark::State& state) {
  run(state, 2 * kF, [](Layer& l, cudaStream_t s, int num_sms, Schedule schedule) {
    sm90_grouped_matmul(s, num_sms, {l.rows, l.h, l.up, l.plan.offset_E1, MatmulLayout::NN}, schedule);
  });
}
// For comparison: the same gradient from rows gathered before.
void PlainUpGradient(benchmark::State& state) {
  run(state, 2 * kF, [&](Layer& l, cudaStream_t s, int num_sms, Schedule schedule) {
    sm90_grouped_matmul(
        s, num_sms, {l.dup, l.h, l.rows, l.plan.offset_E1, MatmulLayout::TN, state.range(1) != 0}, schedule);
  });
}

void schedules(benchmark::internal::Benchmark* b) {
  b->ArgName("turns")->Arg(0)->Arg(1)->UseRealTime()->Unit(benchmark::kMicrosecond)->MinTime(0.2);
}
void alone(benchmark::internal::Benchmark* b) {
  b->ArgName("turns")->Arg(0)->UseRealTime()->Unit(benchmark::kMicrosecond)->MinTime(0.2);
}
void gradients(benchmark::internal::Benchmark* b) {
  b->ArgNames({"turns", "accumulate"})->UseRealTime()->Unit(benchmark::kMicrosecond)->MinTime(0.2);
  for (const int turns : {0, 1})
    for (const int accumulate : {0, 1}) b->Args({turns, accumulate});
}
BENCHMARK(Up)->Apply(schedules);
BENCHMARK(Down)->Apply(schedules);
BENCHMARK(DownBackward)->Apply(alone);
BENCHMARK(UpBackward)->Apply(schedules);
BENCHMARK(Fp8Up)->Apply(schedules);
BENCHMARK(Fp8DownBackward)->Apply(alone);
BENCHMARK(QuantiseTokens)->Apply(alone);
BENCHMARK(QuantiseUp)->Apply(alone);
BENCHMARK(QuantiseDown)->Apply(alone);
BENCHMARK(DownGradient)->Apply(gradients);
BENCHMARK(UpGradient)->Apply(gradients);
BENCHMARK(PlainUpGradient)->Apply(gradients);

}  // namespace
}  // namespace moe::gpu
