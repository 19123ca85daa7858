// SPDX-License-Identifier: MIT
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>

#include "backend/backend.h"
#include "base/error.h"
#include "base/host_memory.h"
#include "base/secrets.h"
#include "base/threads.h"
#include "base/version.h"
#include "comm/mpi.h"
#include "doctor/machine.h"
#include "hub/settings.h"
#include "wandb/config.h"

namespace moe::doctor {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// "debian", of the line ID=debian.
std::string distribution() {
  std::ifstream file("/etc/os-release");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("ID=")) continue;
    std::string id = line.substr(3);
    std::erase(id, '"');
    return id;
  }
  return "";
}

Processor probe_processor() {
  Processor processor;
  processor.cores = available_cores();
  processor.cores_of_machine = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  try {
    processor.description = backend::make_backend(DeviceKind::cpu, 0).description;
    const backend::Bf16Products products = backend::bf16_products(DeviceKind::cpu);
    processor.fast_bf16 = products.fast;
    processor.bf16 = products.why;
  } catch (const UserError& error) {
    processor.problem = error.what();
  }
  return processor;
}

Disk probe_disk(const fs::path& folder) {
  std::error_code none;
  Disk disk;
  disk.folder = fs::absolute(folder, none).lexically_normal();
  fs::path there = disk.folder;  // the nearest that exists
  while (!fs::exists(there, none) && there.has_relative_path()) there = there.parent_path();
  struct statvfs system {};
  if (statvfs(there.c_str(), &system) == 0)
    disk.free = static_cast<int64_t>(system.f_bavail) * static_cast<int64_t>(system.f_frsize);
  // Tried: root may write where the permissions say otherwise, and not everywhere that they allow it.
  std::string trial = (there / ".moe_doctor_XXXXXX").string();
  if (mkdtemp(trial.data()) == nullptr)
    disk.problem = there.string() + ": " + std::strerror(errno);
  else
    rmdir(trial.c_str());
  return disk;
}

bool is_on_path(const std::string& program) {
  std::istringstream folders(environment("PATH"));
  for (std::string folder; std::getline(folders, folder, ':');)
    if (!folder.empty() && access((fs::path(folder) / program).c_str(), X_OK) == 0) return true;
  return false;
}

// A proxy may be given without a scheme: "user:password@host:3128".
std::string shown(const std::string& proxy) {
  return without_secrets(proxy.find("://") == std::string::npos && proxy.find('@') != std::string::npos
                             ? "http://" + proxy
                             : proxy);
}

Network probe_network(fs::path& cache) {
  Network network;
  // Those that libcurl goes by.
  for (const char* const name :
       {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"})
    if (const std::string value = environment(name); !value.empty())
      network.proxies.emplace_back(name, shown(value));
  network.certificates = net::find_certificates();
  if (const std::string& file = network.certificates.file; !file.empty() && access(file.c_str(), R_OK) != 0)
    network.no_certificates = std::strerror(errno);
  try {
    const hub::Settings settings = hub::Settings::from_environment();
    cache = settings.cache;
    network.hub = without_secrets(settings.endpoint);
    network.hub_token = !settings.token.empty();
    network.hub_offline = settings.offline;
  } catch (const UserError& error) {
    network.problems.push_back(without_secrets(error.what()));
  }
  try {
    wandb::Config online;
    online.mode = wandb::ModeSetting::online;
    const wandb::Settings settings = wandb::resolve(online, ".", "");
    network.wandb = without_secrets(settings.base_url);
    network.wandb_key = !settings.api_key.empty();
  } catch (const UserError& error) {
    network.problems.push_back(without_secrets(error.what()));
  }
  return network;
}

}  // namespace

Machine probe(const fs::path& runs) {
  std::error_code none;
  Machine machine;
  machine.program = program_version();
  machine.distribution = distribution();
  machine.gpus = probe_gpus();
  machine.processor = probe_processor();
  machine.memory = {machine_memory_total(), host_memory_total(), host_memory_available()};
  machine.runs = probe_disk(runs);
  fs::path cache;
  machine.network = probe_network(cache);
  if (!cache.empty()) machine.cache = probe_disk(cache);
  machine.no_mpi = comm::why_no_mpi();
  machine.mpirun = is_on_path("mpirun");
  if (fs::is_regular_file(kDictionary, none)) machine.dictionary = kDictionary;
  return machine;
}

}  // namespace moe::doctor
