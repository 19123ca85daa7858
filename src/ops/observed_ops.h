// SPDX-License-Identifier: MIT
// An Ops around another that lets a derived class look on: it is told the name of each operation, its phase,
// its arithmetic and its traffic, and runs it. ClockedOps (clocked_ops.h) measures, MarkedOps (marked_ops.h)
// tells a profiler.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "ops/ops.h"

namespace moe {

class ObservedOps : public Ops {
 public:
  explicit ObservedOps(Ops& inner) : inner_(inner) {}

  std::unique_ptr<CapturedRegion> captured_region() override { return inner_.captured_region(); }
#define MOE_OP(method, Arguments)                  \
  void method(Arguments op) override {             \
    run(describe(op), [&] { inner_.method(op); }); \
  }
  MOE_OPS(MOE_OP)
  MOE_COMPOSED_OPS(MOE_OP)
#undef MOE_OP

 protected:
  struct Operation {
    // Matrix products are told apart by shape: "matmul NT 2048x640x128" (M x N x K; the routed rows of a
    // grouped product in place of M).
    std::string name;
    const char* phase;  // projections, attention, router, dispatch, experts, combine, head, optimizer, ...
    double flops;       // of matrix products and attention
    double bytes;       // of the tensors it was given, each moved once, or read and written
  };
  // Runs body, which is the operation, once.
  virtual void run(const Operation& operation, const std::function<void()>& body) = 0;
  Ops& inner() {
    return inner_;
  }

 private:
  // Arguments have a label() or phase() where those depend on values, and flops() where there are any.
  template <class Arguments>
  static Operation describe(const Arguments& op) {
    Operation operation{Arguments::name, "", 0, op.bytes()};
    if constexpr (requires { op.label(); }) operation.name = op.label();
    if constexpr (requires { op.phase(); })
      operation.phase = op.phase();
    else
      operation.phase = Arguments::phase;
    if constexpr (requires { op.flops(); }) operation.flops = op.flops();
    return operation;
  }

  Ops& inner_;
};

}  // namespace moe
