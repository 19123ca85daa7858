// SPDX-License-Identifier: MIT
#include "doctor/checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/format.h"
#include "doctor/checks_of_gpus.h"

namespace moe::doctor {
namespace {

constexpr int64_t kLittle = int64_t{1} << 30;  // bytes: a small model and its checkpoints take less

std::string size(int64_t bytes) {
  return format_bytes(static_cast<double>(bytes));
}

void add_processor(const Processor& processor, std::vector<Check>& checks) {
  if (!processor.problem.empty()) {
    checks.push_back({"processor", processor.problem, Status::missing, "training on the CPU", ""});
    return;
  }
  checks.push_back({"processor", processor.description});
  checks.push_back(
      {"bf16",
       processor.bf16 + (processor.fast_bf16 ? "; training.mixed_precision=auto takes it on the CPU"
                                             : "; training.mixed_precision=auto takes f32 on the CPU"),
       processor.fast_bf16 ? Status::ok : Status::unused});
  const bool all = processor.cores >= processor.cores_of_machine;
  checks.push_back({"cores", fmt::format("{} of {}{}", processor.cores, processor.cores_of_machine,
                                         all ? "" : ", by affinity or the container's limit")});
}

Check memory_check(const Memory& memory) {
  Check check{"memory", fmt::format("{} free of {}", size(memory.free), size(memory.allowed))};
  if (memory.allowed < memory.machine)
    check.found += fmt::format(", the container's limit (the machine has {})", size(memory.machine));
  if (memory.free >= kLittle) return check;
  check.status = Status::low;
  check.costs = "all but the smallest models";
  check.brings = "end other programs, or raise the container's limit; `moe plan` says what a run needs";
  return check;
}

Check disk_check(const std::string& name, const Disk& disk, const std::string& costs,
                 const std::string& brings) {
  Check check{name, fmt::format("{} free for {}", size(disk.free), disk.folder.string())};
  if (!disk.problem.empty()) {
    check.found = fmt::format("{} cannot be written ({})", disk.folder.string(), disk.problem);
    check.status = Status::missing;
  } else if (disk.free < kLittle) {
    check.status = Status::low;
  }
  if (check.status != Status::ok) check.costs = costs, check.brings = brings;
  return check;
}

Check mpi_check(const Machine& machine) {
  if (!machine.no_mpi.empty()) return {"MPI", machine.no_mpi, Status::unused};
  if (machine.mpirun) return {"MPI", "in this build, and mpirun is here"};
  return {"MPI", "in this build, but there is no mpirun", Status::missing, "runs of several ranks on CPUs",
          "apt install openmpi-bin"};
}

Check dictionary_check(const Machine& machine) {
  if (!machine.dictionary.empty()) return {"dictionary", machine.dictionary.string()};
  return {"dictionary", "the text of the quickstart is not installed", Status::missing,
          "the quickstart: data.source=FILE trains on your own text", "apt install dict-gcide"};
}

Check certificates_check(const Network& network) {
  const net::Certificates& found = network.certificates;
  constexpr const char* kCosts = "HTTPS: text and models of the hub, W&B";
  if (!network.no_certificates.empty())
    return {"certificates", fmt::format("{}={}: {}", found.from, found.file, network.no_certificates),
            Status::missing, kCosts, fmt::format("the right path in {}, or unset it", found.from)};
  if (found.file.empty() && found.folder.empty())
    return {"certificates", "no bundle of the system's certificates at the usual places", Status::missing,
            kCosts, "apt install ca-certificates, or a bundle's path in SSL_CERT_FILE"};
  return {"certificates",
          found.file.empty() ? found.folder : fmt::format("{}, from {}", found.file, found.from)};
}

void add_network(const Network& network, std::vector<Check>& checks) {
  for (const std::string& problem : network.problems)
    checks.push_back({"environment", problem, Status::missing, "what asks this service", ""});
  if (network.proxies.empty()) {
    checks.push_back({"proxy", "none is set", Status::unused});
  } else {
    std::vector<std::string> words;
    for (const auto& [name, value] : network.proxies) words.push_back(fmt::format("{}={}", name, value));
    checks.push_back({"proxy", fmt::format("{}", fmt::join(words, ", "))});
  }
  checks.push_back(certificates_check(network));
  if (!network.hub.empty())
    checks.push_back(
        {"Hugging Face",
         fmt::format(
             "{}, {}{}", network.hub,
             network.hub_token ? "with a token" : "no token (HF_TOKEN): private and gated models need one",
             network.hub_offline ? "; HF_HUB_OFFLINE: the cache alone" : ""),
         network.hub_token ? Status::ok : Status::unused});
  if (!network.wandb.empty())
    checks.push_back(
        {"W&B",
         fmt::format("{}, {}", network.wandb,
                     network.wandb_key ? "with a key" : "no key (WANDB_API_KEY): runs stay here"),
         network.wandb_key ? Status::ok : Status::unused});
}

std::string gpu_words(const Machine& machine) {
  const size_t count = machine.gpus.gpus.size();
  const std::string& name = machine.gpus.gpus.front().name;
  return count == 1 ? "the " + name
                    : fmt::format("the {} GPUs (`moe train --help` says how on several)", count);
}

void decide(const Machine& machine, Diagnosis& diagnosis) {
  const GpuUse gpu = use_of(machine.gpus);
  if (!machine.runs.problem.empty()) {
    diagnosis.verdict = "training does not start here: its folder cannot be made";
  } else if (gpu.taken) {
    diagnosis.trains_on = "gpu";
    diagnosis.verdict = fmt::format("training works here, on {}", gpu_words(machine));
  } else if (!machine.processor.problem.empty()) {
    diagnosis.verdict = "training does not start here: neither GPU nor CPU can compute";
  } else {
    diagnosis.trains_on = "cpu";
    diagnosis.verdict =
        fmt::format("training works here, on the CPU{}{}", gpu.why_not.empty() ? "" : ": ", gpu.why_not);
  }
}

}  // namespace

Diagnosis diagnose(const Machine& machine) {
  Diagnosis diagnosis;
  std::vector<Check>& checks = diagnosis.checks;
  add_gpu_checks(machine, checks);
  add_processor(machine.processor, checks);
  checks.push_back(memory_check(machine.memory));
  checks.push_back(disk_check("runs", machine.runs, "runs and their checkpoints",
                              "another place: training.output_dir=FOLDER"));
  if (!machine.cache.folder.empty())
    checks.push_back(disk_check("hub cache", machine.cache, "models and text from the hub",
                                "another place: export HF_HUB_CACHE=FOLDER"));
  checks.push_back(mpi_check(machine));
  checks.push_back(dictionary_check(machine));
  add_network(machine.network, checks);
  decide(machine, diagnosis);
  return diagnosis;
}

}  // namespace moe::doctor
