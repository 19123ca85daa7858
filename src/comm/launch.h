// SPDX-License-Identifier: MIT
// Which rank of how many this process is, and where the ranks meet: from the flags of `moe train`, or from
// what torchrun, mpirun (Open MPI), mpiexec (MPICH and its kin) or srun put into the environment. Only reads;
// nothing is started here.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace moe::comm {

struct Launch {
  int rank = 0, size = 1;
  int local_rank = 0, local_size = 1;  // on this machine: which GPU, and how many share the cores
  std::string by;  // "torchrun", "mpirun", "mpiexec", "srun", "the environment", "flags"; "" for one process
  // Where rank 0 can be reached, when something said so (MASTER_ADDR, --rendezvous, Slurm's list of nodes).
  std::string host;
  int port = 0;
  // torchrun serves the store at host:port itself: nobody else may.
  bool agent_store = false;
  std::string file;    // --rendezvous file:PATH, on a disk that all see
  std::string run_id;  // differs from any other start of the same run: names keys of the store

  bool alone() const { return size == 1; }
};

struct LaunchFlags {
  std::optional<int> rank = {}, size = {}, local_rank = {};
  std::string rendezvous = {};  // "HOST:PORT" or "file:PATH"
};

using Environment = std::function<const char*(const char* name)>;  // std::getenv, or a test's

// Flags first; then torchrun's variables, which belong to this very process wherever its agent was started;
// what mpirun, srun, or RANK and WORLD_SIZE set by hand say must agree. Throws UserError where something is
// missing, no number, out of range or contradicts.
Launch find_launch(const LaunchFlags& flags, const Environment& environment);

}  // namespace moe::comm
