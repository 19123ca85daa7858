// SPDX-License-Identifier: MIT
// Environments as torchrun, mpirun and srun leave them (shared names: their manuals), and those that
// contradict.
#include <gmock/gmock.h>

#include <map>

#include "base/error.h"
#include "comm/launch.h"
#include "support/errors.h"

namespace moe::comm {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Variables = std::map<std::string, std::string>;

Launch launch(const Variables& variables, const LaunchFlags& flags = {}) {
  return find_launch(flags, [&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}
std::string error(const Variables& variables, const LaunchFlags& flags = {}) {
  return test::user_error_of([&] { launch(variables, flags); });
}

const Variables kTorchrun{{"RANK", "5"},
                          {"WORLD_SIZE", "8"},
                          {"LOCAL_RANK", "1"},
                          {"LOCAL_WORLD_SIZE", "4"},
                          {"MASTER_ADDR", "10.0.0.7"},
                          {"MASTER_PORT", "29400"},
                          {"TORCHELASTIC_RUN_ID", "none"},
                          {"TORCHELASTIC_RESTART_COUNT", "2"},
                          {"TORCHELASTIC_USE_AGENT_STORE", "True"}};
const Variables kMpirun{{"OMPI_COMM_WORLD_RANK", "3"},
                        {"OMPI_COMM_WORLD_SIZE", "16"},
                        {"OMPI_COMM_WORLD_LOCAL_RANK", "3"},
                        {"OMPI_COMM_WORLD_LOCAL_SIZE", "8"}};
const Variables kSrun{{"SLURM_PROCID", "6"},
                      {"SLURM_STEP_NUM_TASKS", "11"},
                      {"SLURM_NTASKS", "11"},
                      {"SLURM_LOCALID", "2"},
                      {"SLURM_NODEID", "1"},
                      {"SLURM_STEP_TASKS_PER_NODE", "4(x2),3"},
                      {"SLURM_JOB_ID", "123456"},
                      {"SLURM_STEP_ID", "0"},
                      {"SLURM_STEP_NODELIST", "gpu[03-05,9]-x,other"}};

Variables with(Variables a, const Variables& b) {
  for (const auto& [name, value] : b) a[name] = value;
  return a;
}

TEST(Launch, NothingIsOneProcess) {
  EXPECT_TRUE(launch({}).alone());
  EXPECT_TRUE(launch({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "16"}}).alone()) << "a batch script, not srun";
}

TEST(Launch, Torchrun) {
  const Launch found = launch(kTorchrun);
  EXPECT_EQ(found.by, "torchrun");
  EXPECT_EQ(found.rank, 5);
  EXPECT_EQ(found.size, 8);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.local_size, 4);
  EXPECT_EQ(found.host, "10.0.0.7");
  EXPECT_EQ(found.port, 29400);
  EXPECT_TRUE(found.agent_store);
  EXPECT_EQ(found.run_id, "none.2");
  // Its agents may be started by anything.
  EXPECT_EQ(launch(with(with(kSrun, kMpirun), kTorchrun)).rank, 5);
}

TEST(Launch, Mpirun) {
  const Launch found = launch(kMpirun);
  EXPECT_EQ(found.by, "mpirun");
  EXPECT_EQ(found.rank, 3);
  EXPECT_EQ(found.size, 16);
  EXPECT_EQ(found.local_rank, 3);
  EXPECT_EQ(found.local_size, 8);
  EXPECT_EQ(launch(with(kSrun, kMpirun)).by, "mpirun");
  EXPECT_EQ(found.host, "") << "rank 0 may be on the other machine";
  const Launch here =
      launch(with(kMpirun, {{"OMPI_COMM_WORLD_LOCAL_SIZE", "16"}, {"PMIX_NAMESPACE", "1234"}}));
  EXPECT_EQ(here.host, "127.0.0.1");
  EXPECT_GT(here.port, 1024);
}

TEST(Launch, Srun) {
  const Launch found = launch(kSrun);
  EXPECT_EQ(found.by, "srun");
  EXPECT_EQ(found.rank, 6);
  EXPECT_EQ(found.size, 11);
  EXPECT_EQ(found.local_rank, 2);
  EXPECT_EQ(found.local_size, 4);
  EXPECT_EQ(found.host, "gpu03-x");
  EXPECT_GT(found.port, 1024);
  EXPECT_EQ(launch(with(kSrun, {{"SLURM_STEP_NODELIST", "n1,n2"}})).host, "n1");
  EXPECT_EQ(launch(with(kSrun, {{"SLURM_STEP_NODELIST", "alone"}})).host, "alone");
  EXPECT_EQ(launch(with(kSrun, {{"SLURM_STEP_NODELIST", "n[7]"}, {"MASTER_ADDR", "m"}})).host, "m");
  EXPECT_EQ(launch(with(kSrun, {{"SLURM_STEP_NODELIST", "n[7]"}})).host, "n7");
}

TEST(Launch, AnInteractiveShellOfSlurmIsOneProcess) {
  for (const char* step : {"4294967290", "4294967291"})  // a shell, a batch script
    EXPECT_TRUE(launch({{"SLURM_PROCID", "0"},
                        {"SLURM_STEP_NUM_TASKS", "1"},
                        {"SLURM_STEP_ID", step},
                        {"SLURM_JOB_ID", "4123456789"}})
                    .alone());
  const Launch large = launch(with(kSrun, {{"SLURM_JOB_ID", "4123456789"}, {"SLURM_STEP_ID", "4294960000"}}));
  EXPECT_EQ(large.run_id, "4123456789.4294960000.");
  EXPECT_GT(large.port, 1024);
  EXPECT_LT(large.port, 65536);
}

// Eight copies of a run over one another, otherwise.
TEST(Launch, Mpich) {
  const Variables hydra{
      {"PMI_RANK", "3"}, {"PMI_SIZE", "8"}, {"MPI_LOCALRANKID", "1"}, {"MPI_LOCALNRANKS", "2"}};
  const Launch found = launch(hydra);
  EXPECT_EQ(found.by, "mpiexec");
  EXPECT_EQ(found.rank, 3);
  EXPECT_EQ(found.size, 8);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.local_size, 2);
  EXPECT_EQ(launch(with(kSrun, hydra)).by, "mpiexec") << "srun has started its helpers";
  EXPECT_EQ(launch(with(kSrun, {{"PMI_RANK", "6"}, {"PMI_SIZE", "11"}})).by, "srun") << "--mpi=pmi2";
  EXPECT_TRUE(launch({{"PMI_RANK", "0"}, {"PMI_SIZE", "1"}}).alone());
  EXPECT_EQ(launch(with(kMpirun, {{"PMI_RANK", "0"}, {"PMI_SIZE", "1"}})).rank, 3);
}

TEST(Launch, Flags) {
  const Launch found = launch({}, {.rank = 1, .size = 2, .rendezvous = "box:4000"});
  EXPECT_EQ(found.by, "flags");
  EXPECT_EQ(found.rank, 1);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.host, "box");
  EXPECT_EQ(found.port, 4000);
  EXPECT_EQ(launch({}, {.rank = 3, .size = 4, .local_rank = 1}).local_rank, 1);
  EXPECT_EQ(launch(kTorchrun, {.rendezvous = "file:/disk/place"}).file, "/disk/place");
  EXPECT_THAT(error({}, {.rendezvous = "box"}), HasSubstr("HOST:PORT"));
  EXPECT_THAT(error({}, {.rank = 1}), HasSubstr("--world-size"));
  EXPECT_THAT(error({}, {.local_rank = 1}), HasSubstr("--local-rank"));
  EXPECT_THAT(error({}, {.rank = 2, .size = 2}), HasSubstr("below the number of ranks (2)"));
}

TEST(Launch, WhatContradictsIsRefused) {
  EXPECT_THAT(error(kTorchrun, {.rank = 1, .size = 8}),
              AllOf(HasSubstr("rank 1 of 8, as flags"), HasSubstr("rank 5 of 8 from torchrun")));
  EXPECT_THAT(error(with(kMpirun, {{"RANK", "3"}, {"WORLD_SIZE", "8"}})),
              AllOf(HasSubstr("rank 3 of 8"), HasSubstr("rank 3 of 16 from mpirun")));
  EXPECT_EQ(launch(with(kMpirun, {{"RANK", "3"}, {"WORLD_SIZE", "16"}})).by, "mpirun");
  EXPECT_THAT(error({{"RANK", "3"}}), HasSubstr("WORLD_SIZE (environment): expected to be set, as RANK is"));
  EXPECT_THAT(error({{"RANK", "three"}, {"WORLD_SIZE", "4"}}),
              HasSubstr("RANK (environment): expected a whole number"));
  EXPECT_THAT(error({{"RANK", "4"}, {"WORLD_SIZE", "4"}}), HasSubstr("below the number of ranks"));
  EXPECT_THAT(error(with(kTorchrun, {{"LOCAL_RANK", "8"}, {"LOCAL_WORLD_SIZE", "8"}})),
              HasSubstr("LOCAL_RANK (environment): expected a rank below"));
  EXPECT_THAT(error({{"RANK", "1"}, {"WORLD_SIZE", "4"}, {"LOCAL_RANK", "2147483647"}}),
              HasSubstr("LOCAL_RANK (environment): expected a rank below"));
  EXPECT_THAT(error(with(kTorchrun, {{"MASTER_PORT", "70000"}})), HasSubstr("a port from 1 to 65535"));
  EXPECT_THAT(error({{"RANK", "-1"}, {"WORLD_SIZE", "4"}}), HasSubstr("whole number"));
}

}  // namespace
}  // namespace moe::comm
