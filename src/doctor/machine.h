// SPDX-License-Identifier: MIT
// What `moe doctor` looks at: the facts of a machine, without a judgement. checks.h has that.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/cuda_libraries.h"
#include "net/certificates.h"

namespace moe::doctor {

// The text of the quickstart, where Debian's and Ubuntu's package dict-gcide puts it; configs/quickstart.yaml
// names it.
inline constexpr const char* kDictionary = "/usr/share/dictd/gcide.dict.dz";

// As NVML tells; 0: it does not.
struct Gpu {
  std::string name;
  int64_t memory = 0, memory_free = 0;  // bytes
  int capability = 0;                   // 90 is 9.0
  double power_limit = 0;               // W
  int clock = 0;                        // MHz, the highest of the multiprocessors
};

struct Gpus {
  std::vector<Gpu> gpus;
  std::string driver;                  // "580.95.05", of its library; "": there is none
  int cuda = 0;                        // 13000: the newest CUDA that the driver runs
  std::string kernel_driver;           // of the module in the kernel; "": none is loaded
  std::vector<std::string> bus;        // NVIDIA's GPUs on the PCI bus, driver or not: "10de:2335"
  std::optional<std::string> visible;  // CUDA_VISIBLE_DEVICES, where it is set
  bool built_for = false;              // whether this program is
  std::string unusable;                // why training.device=auto does not take the first, where it is
  std::optional<CudaLibraryState> products, ranks;  // cuBLASLt; NCCL
};

struct Processor {
  std::string description;  // with threads, library and instructions
  std::string bf16;         // "AMX multiplies bf16"
  bool fast_bf16 = false;
  int cores = 0, cores_of_machine = 0;  // that this process may use, and that there are
  std::string problem;                  // why it cannot compute; "": it can
};

struct Memory {
  int64_t machine = 0, allowed = 0, free = 0;  // bytes; allowed: by the container
};

struct Disk {
  std::filesystem::path folder;  // it need not exist yet
  int64_t free = 0;              // bytes
  std::string problem;           // why nothing can be written there
};

struct Network {
  std::vector<std::pair<std::string, std::string>> proxies;  // variable and value, without its password
  std::string hub;                                           // the address of the hub
  bool hub_token = false, hub_offline = false;
  std::string wandb;  // the address of Weights & Biases
  bool wandb_key = false;
  std::vector<std::string> problems;    // of variables that cannot be read
  net::Certificates certificates = {};  // that HTTPS trusts
  std::string no_certificates = {};     // why their file cannot be read; "": it can, or there is none
};

struct Machine {
  std::string program;       // name and version
  std::string distribution;  // ID of os-release: "debian"
  Gpus gpus;
  Processor processor;
  Memory memory;
  Disk runs, cache;    // where runs go; where files of the hub are kept
  std::string no_mpi;  // why ranks on CPUs cannot start; "": they can
  bool mpirun = false;
  std::filesystem::path dictionary;  // the text of the quickstart; empty: not installed
  Network network;
};

// This machine. runs: the folder for runs.
Machine probe(const std::filesystem::path& runs);

// Of it, the GPUs. bus: the folder of the kernel's PCI devices.
Gpus probe_gpus(const std::filesystem::path& bus = "/sys/bus/pci/devices");

}  // namespace moe::doctor
