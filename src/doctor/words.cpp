// SPDX-License-Identifier: MIT
// A diagnosis as text and as JSON.
#include <fmt/format.h>

#include "base/json.h"
#include "doctor/checks.h"

namespace moe::doctor {
namespace {

Json json_of(const Check& check) {
  return {{"name", check.name},
          {"status", check.status == Status::unused ? "unused" : name_of(check.status)},
          {"found", check.found},
          {"costs", check.costs},
          {"brings", check.brings}};
}

Json json_of(const Gpu& gpu) {
  return {{"name", gpu.name},
          {"memory", gpu.memory},
          {"memory_free", gpu.memory_free},
          {"compute_capability", gpu.capability},
          {"power_limit_watts", gpu.power_limit},
          {"clock_mhz", gpu.clock}};
}

Json json_of(const std::optional<CudaLibraryState>& library) {
  if (!library || !library->problem.empty()) return nullptr;
  return {{"version", library->version}, {"path", library->path}};
}

// A path or word may have bytes that are no UTF-8.
std::string dumped(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string text_of(const Machine& machine, const Diagnosis& diagnosis) {
  std::string text =
      fmt::format("{}, {}\n", machine.program,
                  machine.gpus.built_for ? "built for NVIDIA GPUs and CPUs" : "built for CPUs");
  for (const Check& check : diagnosis.checks) {
    text += fmt::format("{:<8} {:<13} {}\n", name_of(check.status), check.name, check.found);
    if (check.status == Status::ok || check.status == Status::unused) continue;
    if (!check.costs.empty()) text += fmt::format("{:22} costs: {}\n", "", check.costs);
    if (!check.brings.empty()) text += fmt::format("{:22} brings it: {}\n", "", check.brings);
  }
  return text + diagnosis.verdict + "\n";
}

std::string json_of(const Machine& machine, const Diagnosis& diagnosis) {
  Json checks = Json::array(), gpus = Json::array();
  for (const Check& check : diagnosis.checks) checks.push_back(json_of(check));
  for (const Gpu& gpu : machine.gpus.gpus) gpus.push_back(json_of(gpu));
  const Json facts{{"gpus", gpus},
                   {"driver", machine.gpus.driver},
                   {"driver_cuda", machine.gpus.cuda},
                   {"built_for_gpus", machine.gpus.built_for},
                   {"cublaslt", json_of(machine.gpus.products)},
                   {"nccl", json_of(machine.gpus.ranks)},
                   {"processor", machine.processor.description},
                   {"fast_bf16", machine.processor.fast_bf16},
                   {"cores", machine.processor.cores},
                   {"memory_allowed", machine.memory.allowed},
                   {"memory_free", machine.memory.free},
                   {"disk_free", machine.runs.free}};
  return dumped({{"program", machine.program},
                 {"trains_on", diagnosis.trains_on},
                 {"verdict", diagnosis.verdict},
                 {"checks", checks},
                 {"machine", facts}});
}

}  // namespace moe::doctor
