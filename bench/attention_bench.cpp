// SPDX-License-Identifier: MIT
// Attention and what surrounds it on the GPU, in bf16 at the shapes of the full model (16 heads of width 64,
// 8 of keys) and with half as many heads of twice the width: milliseconds a layer, TFLOP/s of what a causal
// row needs (documents need less and are counted alike), and GB/s of each tensor moved once.
//   attention_bench --benchmark_filter=Forward
#include <benchmark/benchmark.h>

#include <chrono>
#include <functional>
#include <vector>

#include "backend/backend.h"
#include "base/error.h"
#include "base/random.h"

namespace moe {
namespace {

constexpr int kCalls = 20;  // queued between two waits

class Layer {
 public:
  // Documents of `document` tokens; 0: one a row. width: of a head.
  Layer(int64_t batch, int64_t length, int64_t document, int64_t width)
      : backend_(backend::make_backend(DeviceKind::gpu, 1)),
        heads_{1024 / width, 512 / width, width},
        n_(batch * length),
        length_(length) {
    const int64_t H = heads_.query, G = heads_.kv, d = heads_.dim;
    packed = random({n_, heads_.packed()}), dpacked = zeros(DType::bf16, {n_, heads_.packed()});
    q = random({n_, H, d}), k = random({n_, G, d}), dy = random({n_, H, d});
    dq = zeros(DType::bf16, {n_, H, d}), dk = zeros(DType::bf16, {n_, G, d});
    d_o = zeros(DType::bf16, {n_, H, d}), y = zeros(DType::bf16, {n_, H, d});
    lse = zeros(DType::f32, {n_, H}), delta = zeros(DType::f32, {n_, H});
    rstd = zeros(DType::f32, {n_, H + G});
    w = zeros(DType::f32, {d}), dw = zeros(DType::f32, {d}), rope = zeros(DType::f32, {length, d});
    ops().fill(w, 1);
    ops().fill(rope, 0.7071F);
    std::vector<int32_t> starts, positions;
    for (int64_t t = 0; t < n_; ++t) {
      const int64_t in_row = t % length;
      starts.push_back(static_cast<int32_t>(document == 0 ? 0 : in_row / document * document));
      positions.push_back(static_cast<int32_t>(in_row));
    }
    first = zeros(DType::i32, {batch, length}), position = zeros(DType::i32, {n_});
    backend_.device->to_device(first, starts.data());
    backend_.device->to_device(position, positions.data());
  }
  ~Layer() {
    for (void* memory : memory_) backend_.device->release(memory);
  }
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  Ops& ops() { return *backend_.ops; }
  const Heads& heads() const { return heads_; }
  void forward() { ops().attention_forward({y, lse, q, k, packed, first, heads_}); }
  void gate() { ops().gate_backward({d_o, delta, dpacked, dy, y, packed, heads_}); }
  void backward() {
    ops().attention_backward({dq, dk, dpacked, d_o, q, k, packed, lse, delta, first, heads_});
  }
  void rope_forward() {
    ops().qk_norm_rope_forward({q, k, rstd, packed, w, w, rope, position, heads_, 1e-5F});
  }
  void rope_backward() {
    ops().qk_norm_rope_backward({dpacked, dw, dw, dq, dk, packed, w, w, rope, position, rstd, heads_});
  }

  // Times kCalls calls an iteration. products: of a causal row; bytes: moved by one call.
  void measure(benchmark::State& state, const std::function<void()>& call, double products, int64_t bytes) {
    call();
    backend_.device->synchronize();
    for (auto _ : state) {
      const auto start = std::chrono::steady_clock::now();
      for (int i = 0; i < kCalls; ++i) call();
      backend_.device->synchronize();
      const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
      state.SetIterationTime(time.count() / kCalls);
    }
    const double flops = products * static_cast<double>(n_ * heads_.query * (length_ + 1) * heads_.dim);
    const auto rate = [&](double of_one) {
      return benchmark::Counter(of_one * static_cast<double>(state.iterations()),
                                benchmark::Counter::kIsRate);
    };
    if (products > 0) state.counters["TFLOP/s"] = rate(flops * 1e-12);
    state.counters["GB/s"] = rate(static_cast<double>(bytes) * 1e-9);
  }

  Tensor packed, dpacked, q, k, dq, dk, dy, d_o, y, lse, delta, rstd, w, dw, rope, first, position;

 private:
  Tensor zeros(DType dtype, std::initializer_list<int64_t> shape) {
    const Tensor size(nullptr, dtype, shape);
    memory_.push_back(backend_.device->allocate(size.bytes()));
    return {memory_.back(), dtype, shape};
  }
  // Uniform in [-1, 1), of 4,093 values again and again.
  Tensor random(std::initializer_list<int64_t> shape) {
    const Tensor tensor = zeros(DType::bf16, shape);
    const Random numbers(1, "bench");
    std::vector<bf16> values;
    for (uint64_t i = 0; i < 4093; ++i) values.emplace_back(2 * numbers.uniform(i) - 1);
    std::vector<bf16> host(static_cast<size_t>(tensor.numel()));
    for (size_t i = 0; i < host.size(); ++i) host[i] = values[i % values.size()];
    backend_.device->to_device(tensor, host.data());
    return tensor;
  }

  backend::Backend backend_;
  Heads heads_;
  int64_t n_, length_;
  std::vector<void*> memory_;
};

// Arguments: rows, tokens of a row, tokens of a document, width of a head.
void with_layer(benchmark::State& state, const std::function<void(Layer&)>& body) {
  try {
    Layer layer(state.range(0), state.range(1), state.range(2), state.range(3));
    body(layer);
  } catch (const UserError& error) {
    state.SkipWithError(error.what());
  }
}

void Forward(benchmark::State& state) {
  with_layer(state, [&](Layer& x) {
    x.measure(
        state, [&] { x.forward(); }, 2, 3 * x.q.bytes() + 2 * x.k.bytes());
  });
}
void Backward(benchmark::State& state) {
  with_layer(state, [&](Layer& x) {
    x.forward();
    x.gate();
    x.measure(
        state, [&] { x.backward(); }, 5, 3 * x.q.bytes() + 4 * x.k.bytes());
  });
}
void GateBackward(benchmark::State& state) {
  with_layer(state, [&](Layer& x) {
    x.measure(
        state, [&] { x.gate(); }, 0, 5 * x.q.bytes());
  });
}
void QkNormRopeForward(benchmark::State& state) {
  with_layer(state, [&](Layer& x) {
    x.measure(
        state, [&] { x.rope_forward(); }, 0, 2 * x.q.bytes() + 2 * x.k.bytes());
  });
}
void QkNormRopeBackward(benchmark::State& state) {
  with_layer(state, [&](Layer& x) {
    x.rope_forward();
    x.measure(
        state, [&] { x.rope_backward(); }, 0, 3 * x.q.bytes() + 3 * x.k.bytes());
  });
}

void shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"rows", "tokens", "document", "width"});
  b->Unit(benchmark::kMillisecond)->UseManualTime()->Iterations(10);
  for (const int64_t width : {64, 128})
    b->Args({32, 1024, 0, width})->Args({16, 2048, 0, width})->Args({32, 1024, 300, width});
}
void one_shape(benchmark::internal::Benchmark* b) {
  b->ArgNames({"rows", "tokens", "document", "width"});
  b->Unit(benchmark::kMillisecond)->UseManualTime()->Iterations(10);
  for (const int64_t width : {64, 128}) b->Args({32, 1024, 0, width});
}
BENCHMARK(Forward)->Apply(shapes);
BENCHMARK(Backward)->Apply(shapes);
BENCHMARK(GateBackward)->Apply(one_shape);
BENCHMARK(QkNormRopeForward)->Apply(one_shape);
BENCHMARK(QkNormRopeBackward)->Apply(one_shape);

}  // namespace
}  // namespace moe
