// SPDX-License-Identifier: MIT
#include "comm/launch.h"

#include <fmt/format.h>

#include <vector>

#include "base/error.h"
#include "base/parse_number.h"
#include "base/random.h"

namespace moe::comm {
namespace {

// Of one launcher: the names of its variables.
struct Names {
  const char *by, *rank, *size, *local_rank, *local_size;
};
constexpr int kFirstPort = 20000, kPorts = 10000;  // below those that systems give out
constexpr int kLastPort = 65535;
constexpr Names kTorch{"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"};
constexpr Names kByHand{"the environment", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"};
constexpr Names kOpenMpi{"mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                         "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"};
// MPICH and its kin (Intel MPI also sets the local two), and srun --mpi=pmi2.
constexpr Names kPmi{"mpiexec", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"};
// Slurm's numbers for steps that are one process each: batch scripts and interactive shells among them
// (slurm.h).
constexpr int64_t kFirstOwnStep = 0xfffffff0;
// Not SLURM_NTASKS: a batch script has that, too, outside of srun.
constexpr Names kSlurm{"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", nullptr};

std::string text_of(const Environment& environment, const char* name) {
  const char* const value = name == nullptr ? nullptr : environment(name);
  return value == nullptr ? "" : value;
}

template <class Number = int>
std::optional<Number> number(const std::string& text) {
  const auto value = parse_number<Number>(text);
  return value && *value >= 0 ? value : std::nullopt;
}

template <class Number = int>
std::optional<Number> number_of(const Environment& environment, const char* name) {
  const std::string text = text_of(environment, name);
  if (text.empty()) return std::nullopt;
  const auto value = number<Number>(text);
  if (!value)
    throw UserError(fmt::format("{} (environment)", name), "a whole number of at least 0", "'" + text + "'");
  return value;
}

// Slurm's "4(x2),3": tasks of each node, in order.
int tasks_of_node(const std::string& list, int node) {
  for (size_t begin = 0; begin < list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    const std::string item = list.substr(begin, end - begin);
    const size_t times = item.find("(x");
    const int tasks = number(item.substr(0, times)).value_or(1);
    const int nodes =
        times == std::string::npos ? 1 : number(item.substr(times + 2, item.size() - times - 3)).value_or(1);
    if (node < nodes) return tasks;
    node -= nodes;
    begin = end + 1;
  }
  return 1;
}

// The first of Slurm's "node[03-05,7],other": node03.
std::string first_host(const std::string& list) {
  const size_t bracket = list.find_first_of("[,");
  if (bracket == std::string::npos || list[bracket] == ',') return list.substr(0, bracket);
  const size_t end = list.find_first_of("-,]", bracket);
  const size_t close = std::min(list.find(']', bracket), list.size() - 1);
  const size_t next = std::min(list.find(',', close), list.size());
  return list.substr(0, bracket) + list.substr(bracket + 1, end - bracket - 1) +
         list.substr(close + 1, next - close - 1);
}

void check_range(const std::string& where, int rank, int size) {
  if (size >= 1 && rank < size) return;
  throw UserError(where, fmt::format("a rank below the number of ranks ({})", size), std::to_string(rank));
}

// What one launcher says; nothing when it is not there.
std::optional<Launch> ask(const Names& names, const Environment& environment) {
  const auto rank = number_of(environment, names.rank), size = number_of(environment, names.size);
  if (!rank && !size) return std::nullopt;
  if (!rank || !size)
    throw UserError(fmt::format("{} (environment)", rank ? names.size : names.rank),
                    fmt::format("to be set, as {} is", rank ? names.rank : names.size), "nothing",
                    "start all ranks with torchrun, mpirun or srun, or unset both");
  check_range(fmt::format("{} (environment)", names.rank), *rank, *size);
  Launch launch;
  launch.by = names.by;
  launch.rank = *rank;
  launch.size = *size;
  const std::string where = fmt::format("{} (environment)", names.local_rank);
  launch.local_rank = number_of(environment, names.local_rank).value_or(0);
  check_range(where, launch.local_rank, *size);
  launch.local_size = number_of(environment, names.local_size).value_or(launch.local_rank + 1);
  check_range(where, launch.local_rank, launch.local_size);
  return launch;
}

// mpirun does not say where rank 0 is, but when all are on one machine that is here.
std::optional<Launch> ask_openmpi(const Environment& environment) {
  auto launch = ask(kOpenMpi, environment);
  if (!launch) return launch;
  launch->run_id = text_of(environment, "PMIX_NAMESPACE");  // differs with each mpirun
  if (launch->local_size == launch->size && !launch->run_id.empty()) {
    launch->host = "127.0.0.1";
    launch->port = kFirstPort + static_cast<int>(stream_id(launch->run_id) % kPorts);
  }
  return launch;
}

// Some systems set these for each process: one that is alone says nothing.
std::optional<Launch> ask_pmi(const Environment& environment) {
  auto launch = ask(kPmi, environment);
  return launch && !launch->alone() ? launch : std::nullopt;
}

std::optional<Launch> ask_slurm(const Environment& environment) {
  // In a batch script SLURM_PROCID stands alone: that is one process.
  if (text_of(environment, kSlurm.size).empty()) return std::nullopt;
  const auto job = number_of<int64_t>(environment, "SLURM_JOB_ID").value_or(0),
             step = number_of<int64_t>(environment, "SLURM_STEP_ID").value_or(0);
  if (step >= kFirstOwnStep) return std::nullopt;
  auto launch = ask(kSlurm, environment);
  launch->local_size =
      std::max(launch->local_rank + 1, tasks_of_node(text_of(environment, "SLURM_STEP_TASKS_PER_NODE"),
                                                     number_of(environment, "SLURM_NODEID").value_or(0)));
  std::string nodes = text_of(environment, "SLURM_STEP_NODELIST");
  if (nodes.empty()) nodes = text_of(environment, "SLURM_NODELIST");
  launch->host = first_host(nodes);
  launch->port = kFirstPort + static_cast<int>((job % kPorts + 97 * (step % kPorts)) %
                                               kPorts);  // the same on all, another for others there
  launch->run_id = fmt::format("{}.{}.{}", job, step, text_of(environment, "SLURM_RESTART_COUNT"));
  return launch;
}

void set_meeting_place(Launch& launch, const std::string& place) {
  constexpr std::string_view kFile = "file:";
  if (place.starts_with(kFile) && place.size() > kFile.size()) {
    launch.file = place.substr(kFile.size());
    return;
  }
  const size_t colon = place.rfind(':');
  const auto port = colon == std::string::npos ? std::nullopt : number(place.substr(colon + 1));
  if (!port || *port < 1 || *port > kLastPort || colon == 0)
    throw UserError("--rendezvous", "HOST:PORT, or file:PATH on a disk that all ranks see",
                    "'" + place + "'");
  launch.host = place.substr(0, colon);
  launch.port = *port;
}

void expect_same(const Launch& a, const Launch& b) {
  if (a.rank == b.rank && a.size == b.size) return;
  throw UserError("the start of this process", fmt::format("rank {} of {}, as {} says", a.rank, a.size, a.by),
                  fmt::format("rank {} of {} from {}", b.rank, b.size, b.by),
                  "use one launcher, and unset what another one has left in the environment");
}

// By the environment alone.
Launch find_started(const Environment& environment) {
  const bool torchrun = !text_of(environment, "TORCHELASTIC_RUN_ID").empty();
  std::vector<Launch> found;
  // torchrun itself may have been started by srun or mpirun, once a node: its variables are those of this
  // process.
  if (auto launch = ask(torchrun ? kTorch : kByHand, environment)) found.push_back(*launch);
  if (!torchrun || found.empty()) {
    if (auto launch = ask_openmpi(environment)) found.push_back(*launch);
    // mpirun and mpiexec may use srun to start one helper a node, whose variables are inherited.
    if (found.empty() || found.back().by != kOpenMpi.by) {
      const auto pmi = ask_pmi(environment), slurm = ask_slurm(environment);
      if (pmi) found.push_back(*pmi);
      if (slurm && (!pmi || (slurm->rank == pmi->rank && slurm->size == pmi->size))) found.push_back(*slurm);
    }
  }
  if (found.empty()) return {};
  for (const Launch& other : found) expect_same(found.front(), other);
  Launch launch = found.back();  // that of the launcher: it knows the machines
  if (const std::string host = text_of(environment, "MASTER_ADDR"); !host.empty()) {
    launch.host = host;
    launch.port = number_of(environment, "MASTER_PORT").value_or(29500);
    if (launch.port < 1 || launch.port > kLastPort)
      throw UserError("MASTER_PORT (environment)", fmt::format("a port from 1 to {}", kLastPort),
                      std::to_string(launch.port));
  }
  launch.agent_store = torchrun && text_of(environment, "TORCHELASTIC_USE_AGENT_STORE") == "True";
  if (torchrun)
    launch.run_id = text_of(environment, "TORCHELASTIC_RUN_ID") + "." +
                    text_of(environment, "TORCHELASTIC_RESTART_COUNT");
  return launch;
}

}  // namespace

Launch find_launch(const LaunchFlags& flags, const Environment& environment) {
  Launch launch = find_started(environment);
  if (flags.rank.has_value() != flags.size.has_value())
    throw UserError(flags.rank ? "--world-size" : "--rank",
                    flags.rank ? "to be given with --rank" : "to be given with --world-size", "nothing");
  if (flags.rank) {
    check_range("--rank", *flags.rank, *flags.size);
    Launch given = launch;
    given.by = "flags";
    given.rank = *flags.rank;
    given.size = *flags.size;
    if (!launch.by.empty()) expect_same(given, launch);
    given.local_rank = flags.local_rank.value_or(launch.by.empty() ? given.rank : launch.local_rank);
    given.local_size = launch.by.empty() ? std::max(given.local_rank + 1, flags.local_rank ? 1 : given.size)
                                         : launch.local_size;
    launch = given;
  } else if (flags.local_rank) {
    throw UserError("--local-rank", "to be given with --rank and --world-size", "neither");
  }
  if (!flags.rendezvous.empty()) set_meeting_place(launch, flags.rendezvous);
  return launch;
}

}  // namespace moe::comm
