// SPDX-License-Identifier: MIT
// Facts of machines that the tests do not run on, and what is said of them.
#include "doctor/checks.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "base/json.h"

namespace moe::doctor {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// A processor that multiplies bf16, and room; no GPU.
Machine cpu_machine() {
  Machine machine;
  machine.program = "moe 1.0";
  machine.distribution = "debian";
  machine.processor = {
      "CPU (Some Xeon, 8 threads), f32, oneDNN 2.6.3, AMX", "AMX multiplies bf16", true, 8, 8, ""};
  machine.memory = {int64_t{32} << 30, int64_t{32} << 30, int64_t{30} << 30};
  machine.runs = {"/home/me/runs", int64_t{100} << 30, ""};
  machine.cache = {"/home/me/.cache/huggingface/hub", int64_t{100} << 30, ""};
  machine.no_mpi = "this build has no MPI";
  machine.dictionary = "/usr/share/dictd/gcide.dict.dz";
  machine.network = {{}, "https://hub.example", false, false, "https://wandb.example", false, {}};
  machine.network.certificates = {"/etc/ssl/certs/ca-certificates.crt", "", "the system"};
  return machine;
}

Machine gpu_machine() {
  Machine machine = cpu_machine();
  machine.gpus.gpus = {{"NVIDIA H200", int64_t{140} << 30, int64_t{139} << 30, 90, 700, 1980}};
  machine.gpus.driver = "580.95.05";
  machine.gpus.cuda = 13000;
  machine.gpus.built_for = true;
  machine.gpus.products = CudaLibraryState{"cuBLASLt", "/cuda/libcublasLt.so.13", "13.1.0", "", ""};
  machine.gpus.ranks = CudaLibraryState{"NCCL", "/cuda/libnccl.so.2", "2.28.9", "", ""};
  return machine;
}

std::string said(const Machine& machine) {
  return text_of(machine, diagnose(machine));
}

// The line of that name; an empty one where there is none.
Check check_of(const Machine& machine, const std::string& name) {
  const std::vector<Check> checks = diagnose(machine).checks;
  const auto found =
      std::find_if(checks.begin(), checks.end(), [&](const Check& check) { return check.name == name; });
  return found == checks.end() ? Check{} : *found;
}

void lacks(const Machine& machine, const std::string& name, Status status, const std::string& found,
           const std::string& brings) {
  const Check check = check_of(machine, name);
  EXPECT_EQ(name_of(check.status), name_of(status));
  EXPECT_THAT(check.found, HasSubstr(found));
  EXPECT_THAT(check.costs, Not(testing::IsEmpty()));
  EXPECT_THAT(check.brings, HasSubstr(brings));
}

TEST(Doctor, AWholeGpuMachine) {
  const Machine machine = gpu_machine();
  EXPECT_EQ(
      said(machine),
      "moe 1.0, built for NVIDIA GPUs and CPUs\n"
      "ok       GPU 0         NVIDIA H200, 140 GiB (139 GiB free), compute capability 9.0, up to 700 W, "
      "up to 1980 MHz\n"
      "ok       driver        580.95.05, for CUDA 13.0\n"
      "ok       cuBLASLt      13.1.0, /cuda/libcublasLt.so.13\n"
      "ok       NCCL          2.28.9, /cuda/libnccl.so.2\n"
      "ok       processor     CPU (Some Xeon, 8 threads), f32, oneDNN 2.6.3, AMX\n"
      "ok       bf16          AMX multiplies bf16; training.mixed_precision=auto takes it on the CPU\n"
      "ok       cores         8 of 8\n"
      "ok       memory        30.0 GiB free of 32.0 GiB\n"
      "ok       runs          100 GiB free for /home/me/runs\n"
      "ok       hub cache     100 GiB free for /home/me/.cache/huggingface/hub\n"
      "-        MPI           this build has no MPI\n"
      "ok       dictionary    /usr/share/dictd/gcide.dict.dz\n"
      "-        proxy         none is set\n"
      "ok       certificates  /etc/ssl/certs/ca-certificates.crt, from the system\n"
      "-        Hugging Face  https://hub.example, no token (HF_TOKEN): private and gated models need "
      "one\n"
      "-        W&B           https://wandb.example, no key (WANDB_API_KEY): runs stay here\n"
      "training works here, on the NVIDIA H200\n");
  EXPECT_EQ(diagnose(machine).trains_on, "gpu");
}

TEST(Doctor, AMachineWithoutAGpuLacksNothing) {
  const Machine machine = cpu_machine();
  EXPECT_THAT(said(machine),
              AllOf(StartsWith("moe 1.0, built for CPUs\n-        GPU           no NVIDIA GPU\n"),
                    Not(HasSubstr("missing")), Not(HasSubstr("cuBLASLt")),
                    EndsWith("\ntraining works here, on the CPU\n")));
  EXPECT_EQ(diagnose(machine).trains_on, "cpu");
}

TEST(Doctor, ADriverThatIsTooOld) {
  Machine machine = gpu_machine();
  machine.gpus.driver = "550.54.15";
  machine.gpus.cuda = 12040;
  machine.gpus.unusable = "the NVIDIA driver is too old: it supports CUDA 12.4, and this program needs 13.0";
  lacks(machine, "driver", Status::too_old, "550.54.15, for CUDA 12.4; CUDA 13 needs 580 or newer",
        "a driver of 580 or newer");
  EXPECT_THAT(said(machine), AllOf(HasSubstr("\ntoo old  driver        550.54.15"), Not(HasSubstr("CUDA  ")),
                                   EndsWith("on the CPU: " + machine.gpus.unusable + "\n")));
  EXPECT_EQ(diagnose(machine).trains_on, "cpu");
  machine.distribution = "ubuntu";
  lacks(machine, "driver", Status::too_old, "550.54.15", "apt install nvidia-driver-580-open");
}

TEST(Doctor, NoDriver) {
  Machine machine = cpu_machine();
  machine.gpus.bus = {"10de:2335"};
  lacks(machine, "GPU", Status::missing, "on the bus (10de:2335), but NVIDIA's driver is not installed",
        "a driver of 580 or newer");
  machine.gpus.kernel_driver = "580.95.05";
  lacks(machine, "GPU", Status::missing, "driver 580.95.05, and here its libraries are not found",
        "--gpus all");
  machine.gpus.driver = "580.95.05";
  lacks(machine, "GPU", Status::missing, "the driver (580.95.05) shows none", "nvidia-smi");
  EXPECT_EQ(diagnose(machine).trains_on, "cpu");
}

TEST(Doctor, AGpuThatIsTooOld) {
  Machine machine = gpu_machine();
  machine.gpus.gpus[0].capability = 75;
  machine.gpus.unusable = "it has compute capability 7.5";
  lacks(machine, "GPU 0", Status::too_old, "compute capability 7.5", "8.0 (Ampere)");
  EXPECT_EQ(check_of(machine, "CUDA").name, "") << "said already";
  EXPECT_EQ(diagnose(machine).trains_on, "cpu");
}

TEST(Doctor, ABuildForCpusBesideAGpu) {
  Machine machine = gpu_machine();
  machine.gpus.built_for = false;
  machine.gpus.products.reset();
  machine.gpus.ranks.reset();
  lacks(machine, "GPU support", Status::missing, "this build is for CPUs", "make train");
  EXPECT_EQ(check_of(machine, "NCCL").name, "");
  EXPECT_THAT(said(machine), EndsWith("on the CPU: this build is for CPUs\n"));
}

TEST(Doctor, GpusThatAreHidden) {
  Machine machine = gpu_machine();
  machine.gpus.visible = "";
  machine.gpus.unusable = "the NVIDIA driver sees no GPU";
  lacks(machine, "visible GPUs", Status::missing, "CUDA_VISIBLE_DEVICES=\"\" hides them all", "unset");
  machine.gpus.visible = "0";
  machine.gpus.unusable = "";
  EXPECT_EQ(check_of(machine, "visible GPUs").found, "CUDA_VISIBLE_DEVICES=0");
}

TEST(Doctor, CudaThatFailsForAnotherReason) {
  Machine machine = gpu_machine();
  machine.gpus.unusable = "the NVIDIA driver sees no GPU";
  lacks(machine, "CUDA", Status::missing, "sees no GPU", "nvidia-smi");
}

TEST(Doctor, ProductsThatAreMissing) {
  Machine machine = gpu_machine();
  machine.gpus.products = CudaLibraryState{"cuBLASLt", "", "", "found none", "pip install it"};
  machine.gpus.unusable = "cuBLASLt is missing (`moe doctor` says what brings it)";
  lacks(machine, "cuBLASLt", Status::missing, "found none", "pip install it");
  EXPECT_EQ(check_of(machine, "CUDA").name, "") << "said already";
  EXPECT_EQ(diagnose(machine).trains_on, "cpu");
}

TEST(Doctor, NcclIsForSeveralGpus) {
  Machine machine = gpu_machine();
  machine.gpus.ranks = CudaLibraryState{"NCCL", "", "", "found none", "pip install it"};
  EXPECT_EQ(check_of(machine, "NCCL").status, Status::unused);
  machine.gpus.gpus.push_back(machine.gpus.gpus[0]);
  lacks(machine, "NCCL", Status::missing, "found none", "pip install it");
  machine.gpus.ranks.reset();
  lacks(machine, "NCCL", Status::missing, "this build has none", "build again");
  EXPECT_THAT(said(machine), EndsWith("on the 2 GPUs (`moe train --help` says how on several)\n"));
}

TEST(Doctor, LittleMemoryInAContainer) {
  Machine machine = cpu_machine();
  machine.memory = {int64_t{32} << 30, int64_t{2} << 30, int64_t{1} << 29};
  lacks(machine, "memory", Status::low,
        "512 MiB free of 2.00 GiB, the container's limit (the machine has 32.0 GiB)", "moe plan");
  machine.processor.cores = 2;
  EXPECT_EQ(check_of(machine, "cores").found, "2 of 8, by affinity or the container's limit");
}

TEST(Doctor, NoPlaceForRuns) {
  Machine machine = cpu_machine();
  machine.runs.free = 1 << 20;
  lacks(machine, "runs", Status::low, "1.00 MiB free for /home/me/runs", "training.output_dir=");
  EXPECT_EQ(diagnose(machine).trains_on, "cpu");
  machine.runs.problem = "/home/me: Permission denied";
  lacks(machine, "runs", Status::missing, "cannot be written (/home/me: Permission denied)",
        "training.output_dir=");
  EXPECT_EQ(diagnose(machine).trains_on, "");
}

TEST(Doctor, AProcessorThatCannotCompute) {
  Machine machine = cpu_machine();
  machine.processor.problem = "oneDNN: of another kind";
  EXPECT_EQ(check_of(machine, "processor").status, Status::missing);
  EXPECT_EQ(diagnose(machine).trains_on, "");
}

TEST(Doctor, WhatTheQuickstartNeeds) {
  Machine machine = cpu_machine();
  machine.dictionary.clear();
  lacks(machine, "dictionary", Status::missing, "not installed", "apt install dict-gcide");
}

TEST(Doctor, RanksOnCpus) {
  Machine machine = cpu_machine();
  machine.no_mpi.clear();
  lacks(machine, "MPI", Status::missing, "no mpirun", "openmpi-bin");
  machine.mpirun = true;
  EXPECT_EQ(check_of(machine, "MPI").status, Status::ok);
}

TEST(Doctor, TheNetwork) {
  Machine machine = cpu_machine();
  machine.network = {{{"https_proxy", "http://proxy.example:3128"}},
                     "https://hub.example",
                     true,
                     true,
                     "https://wandb.example",
                     true,
                     {"environment: HF_TOKEN: expected a token"}};
  EXPECT_EQ(check_of(machine, "proxy").found, "https_proxy=http://proxy.example:3128");
  EXPECT_EQ(check_of(machine, "Hugging Face").found,
            "https://hub.example, with a token; HF_HUB_OFFLINE: the cache alone");
  EXPECT_EQ(check_of(machine, "W&B").found, "https://wandb.example, with a key");
  EXPECT_EQ(check_of(machine, "environment").status, Status::missing);
}

TEST(Doctor, CertificatesOfHttps) {
  Machine machine = cpu_machine();
  machine.network.certificates = {};
  lacks(machine, "certificates", Status::missing, "no bundle", "apt install ca-certificates");
  machine.network.certificates.folder = "/of/mine";
  EXPECT_EQ(check_of(machine, "certificates").found, "/of/mine");
  machine.network.certificates = {"/of/mine.pem", "", "SSL_CERT_FILE"};
  EXPECT_EQ(check_of(machine, "certificates").found, "/of/mine.pem, from SSL_CERT_FILE");
  machine.network.no_certificates = "No such file or directory";
  lacks(machine, "certificates", Status::missing, "SSL_CERT_FILE=/of/mine.pem: No such file", "unset it");
}

TEST(Doctor, Json) {
  Machine machine = gpu_machine();
  machine.gpus.ranks = CudaLibraryState{"NCCL", "", "", "found none", "pip install it"};
  const Json json = parse_json("doctor", json_of(machine, diagnose(machine)));
  EXPECT_EQ(json.at("trains_on"), "gpu");
  EXPECT_EQ(json.at("checks").at(0),
            (Json{{"name", "GPU 0"},
                  {"status", "ok"},
                  {"found",
                   "NVIDIA H200, 140 GiB (139 GiB free), compute capability 9.0, up to 700 W, up to "
                   "1980 MHz"},
                  {"costs", ""},
                  {"brings", ""}}));
  EXPECT_EQ(json.at("checks").at(3).at("status"), "unused");
  const Json& facts = json.at("machine");
  EXPECT_EQ(facts.at("gpus").at(0).at("compute_capability"), 90);
  EXPECT_EQ(facts.at("cublaslt").at("path"), "/cuda/libcublasLt.so.13");
  EXPECT_TRUE(facts.at("nccl").is_null());
  EXPECT_EQ(facts.at("memory_free"), int64_t{30} << 30);
}

}  // namespace
}  // namespace moe::doctor
